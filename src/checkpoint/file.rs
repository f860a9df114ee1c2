//! Files that are read without trust, and written so that there is always a whole one: the old, or the new.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::container::check_header_length;
use crate::error::{Error, Result};

/// How temporary files begin and end; between stand the process and a number.
const TEMPORARY: [&str; 2] = [".wgrad-", ".tmp"];

/// Symbolic links that are followed at most, as Linux does.
const MOST_LINKS: usize = 40;

/// The bytes of a safetensors file. What cannot be one by its first bytes and its length is not read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |error| Error::io(path, error);
    // Before it is opened: to open a pipe would wait for its other end.
    regular(path, &fs::metadata(path).map_err(io)?)?;
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut head = [0; 8];
    if len < 8 {
        return Err(Error::file(path, format!("it has {len} bytes, and no safetensors file has fewer than 8")));
    }
    file.read_exact(&mut head).map_err(io)?;
    check_header_length(u64::from_le_bytes(head), len).map_err(|problem| Error::file(path, problem))?;
    let too_large = || Error::file(path, format!("its {len} bytes do not fit into memory"));
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(len).map_err(|_| too_large())?).map_err(|_| too_large())?;
    bytes.extend(head);
    file.take(len - 8).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 != len {
        return Err(Error::file(path, format!("it shrank from {len} to {} bytes while it was read", bytes.len())));
    }
    Ok(bytes)
}

/// Writes a file so that at each moment, whatever fails or ends the process, the path has the old content or all of the new: a
/// temporary file in the same folder is written, flushed to the disk and renamed, and the folder flushed. A symbolic link stays
/// one, and what it points to is replaced; the permissions of an old file stay, and a file that may not be written is not replaced.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |error| Error::io(path, error);
    let (target, permissions) = target(path)?;
    let mut temporary = Temporary::new(folder(&target)).map_err(io)?;
    temporary.file.write_all(bytes).map_err(io)?;
    if let Some(permissions) = permissions {
        temporary.file.set_permissions(permissions).map_err(io)?;
    }
    temporary.file.sync_all().map_err(io)?;
    temporary.rename(&target).map_err(io)?;
    flush(folder(&target)).map_err(io)
}

/// That a file could be written there, as far as can be told without writing it.
pub(super) fn probe(path: &Path) -> Result<()> {
    let (target, _) = target(path)?;
    Temporary::new(folder(&target)).map(drop).map_err(|error| Error::io(path, error))
}

/// Has `to` be what `from` is, which stays: by another name for it, or a copy where the file system has one name a file. What was
/// at `to` goes.
pub(super) fn also(from: &Path, to: &Path) -> Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(to, error)),
        _ => {}
    }
    // The file itself, and not a symbolic link to it.
    let from = target(from)?.0;
    match fs::hard_link(&from, to) {
        Ok(()) => Ok(()),
        Err(_) => write(to, &fs::read(&from).map_err(|error| Error::io(&from, error))?),
    }
}

/// Removes temporary files that processes left there which were ended while they wrote. One that is being written is locked.
pub(super) fn sweep(path: &Path) {
    let Ok((target, _)) = target(path) else { return };
    let Ok(entries) = fs::read_dir(folder(&target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_temporary = name.to_str().is_some_and(|name| {
            name.starts_with(TEMPORARY[0])
                && name.ends_with(TEMPORARY[1])
                && entry.file_type().is_ok_and(|t| t.is_file())
        });
        // Locked until it is gone: who made it just now waits for the lock, and then makes another.
        if is_temporary
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // One more left over does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Refuses what is no file of bytes.
fn regular(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    match metadata {
        metadata if metadata.is_dir() => Err(Error::file(path, "it is a directory")),
        metadata if !metadata.is_file() => Err(Error::file(path, "it is no regular file")),
        _ => Ok(()),
    }
}

/// The file that a path means, through symbolic links, and the permissions that it has if it is there.
fn target(path: &Path) -> Result<(PathBuf, Option<Permissions>)> {
    let io = |error| Error::io(path, error);
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                // A link is relative to the folder that it is in.
                target = folder(&target).join(fs::read_link(&target).map_err(io)?);
            }
            Ok(metadata) => {
                regular(path, &metadata)?;
                // Renaming needs no permission for the file, but who took it away meant the file.
                OpenOptions::new().write(true).open(&target).map_err(io)?;
                return Ok((target, Some(metadata.permissions())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if target.file_name().is_none() {
                    return Err(Error::file(path, "it is no name of a file"));
                }
                return Ok((target, None));
            }
            Err(error) => return Err(io(error)),
        }
    }
    Err(Error::file(path, format!("it is a chain of more than {MOST_LINKS} symbolic links")))
}

/// The folder that a path is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Flushes the names in a folder to the disk, where that can be done.
fn flush(folder: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network file systems know no such thing.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        // A folder may be written, but not read.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// A file that is being written, and goes away again unless it gets its name.
struct Temporary {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Temporary {
    fn new(folder: &Path) -> std::io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let [begin, end] = TEMPORARY;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{begin}{}-{number}{end}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // For `sweep`, which may have come before the lock; not every file system has locks.
                    let _ = file.lock();
                    if path.exists() {
                        return Ok(Self { file, path, named: false });
                    }
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, to: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, to)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.path);
        }
    }
}
