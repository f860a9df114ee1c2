//! What this crate does not do: unsafe code, network access, files that nobody asked for. By its text, so that a change shows.

#![allow(clippy::print_stdout, reason = "how much was looked at is the result")]

use std::path::Path;

/// Every source file, without comments and without the strings that hold other languages' words.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code =
                    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
                let name = path.strip_prefix(root).expect("below src").to_string_lossy().replace('\\', "/");
                found.push((name, code));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 80, "{} files", found.len());
    found
}

/// The files that have one of these words in their code.
fn with(words: &[&str]) -> Vec<String> {
    let has = |code: &str| words.iter().any(|word| code.contains(word));
    sources().into_iter().filter(|(_, code)| has(code)).map(|(name, _)| name).collect()
}

/// The one place is an allowance with a reason, a proof, and one call.
#[test]
fn unsafe_code_is_in_one_place() {
    assert_eq!(
        with(&["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"]),
        ["gpu/pipeline.rs"]
    );
    let text = include_str!("../src/gpu/pipeline.rs");
    assert_eq!(text.matches("allow(unsafe_code, reason").count(), 1);
    assert_eq!(text.matches("unsafe {").count(), 1);
    let proof = text.find("// SAFETY:").expect("a proof");
    assert!(
        text[proof..]
            .lines()
            .take_while(|line| !line.contains("unsafe {"))
            .all(|line| line.trim_start().starts_with("//"))
    );
    assert!(include_str!("../Cargo.toml").contains("unsafe_code = \"deny\""));
}

#[test]
fn nothing_reaches_a_network_or_starts_a_process() {
    let words =
        ["std::net", "TcpStream", "UdpSocket", "UnixStream", "process::Command", "Command::new", "http://", "https://"];
    assert_eq!(with(&words), Vec::<String>::new());
    let tree = include_str!("../Cargo.toml");
    for crate_name in ["reqwest", "ureq", "hyper", "curl", "tokio", "socket2"] {
        assert!(!tree.contains(crate_name), "{crate_name}");
    }
}

/// Files are written where a caller gives a path, and by these alone: a history, a chart, a checkpoint or a network.
#[test]
fn files_are_written_in_few_places() {
    let words = [
        "fs::write(",
        "File::create(",
        "OpenOptions::new(",
        "fs::rename(",
        "fs::remove_file(",
        "create_dir",
        "temp_dir()",
    ];
    let written = ["checkpoint/file.rs", "checkpoint/policy.rs", "plot/mod.rs", "train/history.rs"];
    assert_eq!(with(&words), written);
    println!("{} files of code", sources().len());
}
