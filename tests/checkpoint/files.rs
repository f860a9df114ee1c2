//! Writing: names, links, permissions, folders that are full or closed.

use std::path::Path;
use std::process::Command;

use wgrad::{Activation, Device, Error, Network};

fn net(seed: u64) -> Network {
    Network::new(20)
        .dense(30, Activation::Tanh)
        .dense(2, Activation::Sigmoid)
        .seed(seed)
        .build(&Device::cpu())
        .expect("a net")
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let bytes = net(1).to_bytes().expect("bytes");
    for _ in 0..20 {
        assert_eq!(net(1).to_bytes().expect("bytes"), bytes);
    }
    assert!(net(2).to_bytes().expect("bytes") != bytes);
    let again = Network::from_bytes(&bytes, &Device::cpu()).expect("a network").to_bytes().expect("bytes");
    assert_eq!(again, bytes);
}

/// A preparation, dropout and a forced plan are a part of the network.
#[test]
fn all_of_a_network_comes_back() {
    use wgrad::data::{Preparation, Table};
    let table = Table::new("fruit")
        .with_numbers("size", [1.0, 1.2, 0.9, 8.0, 7.5, 9.0])
        .and_then(|table| table.with_texts("kind", ["cherry", "cherry", "cherry", "apple", "apple", "apple"]))
        .expect("a table");
    let preparation = Preparation::new("kind").fit(&table).expect("a preparation");
    let mut net = Network::new(preparation.inputs())
        .dense(3, Activation::LeakyRelu)
        .dropout(0.1)
        .dense(preparation.outputs(), preparation.output_activation())
        .plan(wgrad::plan::PlanKind::Textbook)
        .seed(77)
        .build(&Device::cpu())
        .expect("a net");
    net.set_preparation(preparation.clone()).expect("it fits");
    let bytes = net.to_bytes().expect("bytes");
    let again = Network::from_bytes(&bytes, &Device::cpu()).expect("a network");
    assert_eq!(again.preparation(), Some(&preparation));
    assert_eq!(again.layers(), net.layers());
    assert_eq!(again.plan(1), net.plan(1));
    assert_eq!((again.dropout_rates(), net.dropout_rates()), (&[0.1, 0.0][..], &[0.1, 0.0][..]));
    let rows = [["8.2"], ["1.1"]];
    let answers =
        |net: &Network| net.predict_rows(&rows).expect("answers").classes().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(answers(&again), answers(&net));
    assert_eq!(again.to_bytes().expect("bytes"), bytes);
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf8_and_may_be_as_long_as_a_name_can_be() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    for name in [&b"net \xff\xfe\n.st"[..], &[b'n'; 255]] {
        let file = folder.path().join(OsStr::from_bytes(name));
        net(1).save(&file).expect("a file");
        Network::load(&file, &Device::cpu()).expect("a network");
    }
    assert_eq!(entries(folder.path()), 2);
    let error = net(1).save(folder.path().join("n".repeat(256))).expect_err("too long a name");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn permissions_and_symbolic_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    // A new file has what any new file has.
    let (plain, file) = (folder.path().join("plain"), folder.path().join("net.st"));
    std::fs::write(&plain, "x").expect("a file");
    net(1).save(&file).expect("a file");
    assert_eq!(mode(&file), mode(&plain));
    for wanted in [0o600, 0o644, 0o660, 0o755] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(wanted)).expect("permissions");
        net(2).save(&file).expect("a file");
        assert_eq!(mode(&file), wanted);
    }

    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let (real, link, far) = (inner.join("real.st"), folder.path().join("link.st"), folder.path().join("far.st"));
    symlink("inner/real.st", &link).expect("a link");
    symlink(&link, &far).expect("a link to a link");
    for (seed, path) in [(3, &link), (4, &far), (5, &link)] {
        net(seed).save(path).expect("a file");
        assert!(std::fs::symlink_metadata(path).expect("a link").is_symlink());
        assert!(std::fs::symlink_metadata(&real).expect("a file").is_file());
        assert_eq!(std::fs::read(&real).expect("bytes"), net(seed).to_bytes().expect("bytes"));
    }
    let ring = folder.path().join("ring");
    symlink(&ring, &ring).expect("a link");
    assert!(net(1).save(&ring).expect_err("a ring").to_string().contains("symbolic links"));
    let error = net(1).save(folder.path()).expect_err("a folder");
    assert!(error.to_string().contains("directory"), "{error}");
    assert_eq!((entries(&inner), entries(folder.path())), (1, 6), "no temporary files are left");
}

/// The variable by which a child without privileges knows what to do, and where.
const CLOSED: &str = "WGRAD_TEST_CLOSED";

/// What a child that is not root runs: neither the folder nor the file may be written.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CLOSED) else { return };
    let folder = Path::new(&folder);
    for (name, what) in [("closed/net.st", "a closed folder"), ("read only.st", "a read-only file")] {
        let path = folder.join(name);
        let before = std::fs::read(&path).expect("it can be read");
        let error = net(2).save(&path).expect_err(what);
        assert!(
            matches!(&error, Error::Io { path: at, source } if *at == path && source.kind() == std::io::ErrorKind::PermissionDenied),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&path).expect("it is there"), before, "{what}");
    }
    let error = Network::load(folder.join("secret.st"), &Device::cpu()).map(drop).expect_err("no permission");
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{error:?}"
    );
    std::fs::write(folder.join("done"), "x").expect("a mark");
}

#[cfg(unix)]
#[test]
fn without_permission_the_old_file_stays() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().expect("a folder");
    let set = |name: &str, mode| {
        std::fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(mode)).expect("permissions");
    };
    std::fs::create_dir(folder.path().join("closed")).expect("a folder");
    for name in ["closed/net.st", "read only.st", "secret.st"] {
        net(1).save(folder.path().join(name)).expect("a file");
    }
    // For another user to mark what was done in.
    set("", 0o777);
    set("closed", 0o555);
    set("read only.st", 0o444);
    set("secret.st", 0);
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    // Root may do anything: a copy of this program runs as nobody.
    let copy = folder.path().join("program");
    std::fs::copy(std::env::current_exe().expect("a path"), &copy).expect("a copy");
    let mut child = Command::new(&copy);
    child.args(["--exact", "files::child"]).env(CLOSED, folder.path()).current_dir(folder.path());
    if root {
        child.uid(65_534).gid(65_534);
    }
    match child.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && folder.path().join("done").exists(), "{text}");
        }
        Err(error) => eprintln!("SKIPPED: no program without privileges can be run here: {error}"),
    }
    set("closed", 0o755);
}

/// On a file system that is too small for two of them, the second save fails, and the first file is there.
#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_the_old_file_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(folder.path()).output();
    match mounted {
        Ok(output) if output.status.success() => {}
        other => {
            let why = other
                .map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).into_owned());
            eprintln!("SKIPPED: a full disk, since no small file system can be mounted here: {}", why.trim());
            return;
        }
    }
    let outcome = std::panic::catch_unwind(|| {
        let file = folder.path().join("net.st");
        let large = Network::new(40).dense(50, Activation::Tanh).build(&Device::cpu()).expect("a net");
        large.save(&file).expect("room for one");
        let before = std::fs::read(&file).expect("bytes");
        assert!((6_000..16_000).contains(&before.len()), "{}", before.len());
        let error = large.save(&file).expect_err("no room for two");
        assert!(
            matches!(&error, Error::Io { path, source } if *path == file && source.kind() == std::io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&file).expect("bytes"), before);
        assert_eq!(entries(folder.path()), 1, "no temporary file is left");
        Network::load(&file, &Device::cpu()).expect("a network");
    });
    let unmounted = Command::new("umount").arg(folder.path()).status();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(unmounted.is_ok_and(|status| status.success()));
}
