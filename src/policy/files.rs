//! Whether the files that a policy names are there: apart from reading the policy, which needs none of them.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::party::{FileKind, NamedFile, Party};

/// Characters that make a location a glob.
const GLOB: [char; 3] = ['*', '?', '['];

impl Party {
    /// Checks that every file that the policy names is there and can be read, and that keys are their owner's
    /// alone. For start-up; what stands in the files is for those who read them. Of a glob, its folder is looked
    /// for; of an object store, nothing.
    ///
    /// # Errors
    /// The first of [`Party::missing_files`].
    pub fn check_files(&self) -> Result<(), ConfigError> {
        self.missing_files().into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that [`Party::check_files`] would complain about, in the order of the policy.
    pub fn missing_files(&self) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = self.files.iter().filter_map(|file| self.check_file(file).err()).collect();
        errors.sort_by_key(|error| error.line);
        errors
    }

    fn check_file(&self, file: &NamedFile) -> Result<(), ConfigError> {
        let shown = file.path.display();
        let error = |what: String, advice: &str| Err(self.error(file.line, format!("{} {what}", file.role), advice));
        match file.kind {
            FileKind::Table => {
                let place = folder_of_glob(&file.path);
                match std::fs::metadata(&place) {
                    Ok(_) => Ok(()),
                    Err(reason) => error(
                        format!("names '{shown}', and '{}' cannot be read: {reason}", place.display()),
                        "name a file, a folder or a glob that is there; paths are relative to the policy's folder",
                    ),
                }
            }
            FileKind::Certificate | FileKind::Key | FileKind::Tokens => {
                let opened = std::fs::File::open(&file.path).and_then(|file| file.metadata());
                let metadata = match opened {
                    Ok(metadata) if metadata.is_file() => metadata,
                    Ok(_) if file.kind == FileKind::Tokens => {
                        return error(format!("names '{shown}', which is no file"), "name a text file");
                    }
                    Ok(_) => return error(format!("names '{shown}', which is no file"), "name a PEM file"),
                    Err(reason) => {
                        let advice = match (file.kind, file.role.contains("[[peer]]")) {
                            (FileKind::Certificate, true) => "put the file there that the peer gave you",
                            (FileKind::Certificate, false) if file.role.starts_with("clients") => {
                                "put the analysts' certificates there, or remove the key `clients`"
                            }
                            (FileKind::Tokens, _) => {
                                "`datafusion-psi token NAME` prints a line for it; or remove the key `tokens`"
                            }
                            _ => "`datafusion-psi init` makes a certificate and its key",
                        };
                        return error(format!("names '{shown}', which cannot be read: {reason}"), advice);
                    }
                };
                match others_may(&metadata) {
                    Some(mode) if file.kind != FileKind::Certificate => error(
                        format!("names '{shown}', which other users may open (mode {mode:03o})"),
                        "make it this user's alone: chmod 600",
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The folder that a glob starts from; a path without one is itself.
fn folder_of_glob(path: &Path) -> PathBuf {
    let plain = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(GLOB);
    let folder: PathBuf = path.components().take_while(plain).collect();
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
}

/// The mode of a file that users other than its owner may open.
#[cfg(unix)]
fn others_may(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// The mode of a file that users other than its owner may open: elsewhere than on Unix there are none.
#[cfg(not(unix))]
fn others_may(_: &std::fs::Metadata) -> Option<u32> {
    None
}
