//! The demo's folder: its own, or none.

use std::path::Path;

use anyhow::{Context, bail};

/// The file that says that a folder is the demo's own.
const MARKER: &str = ".datafusion-psi-demo";

/// Makes the folder, or takes one that an earlier demo has made. What lies in it beside the demo's own files stays.
///
/// # Errors
/// If it is a file, or a folder of somebody else's with something in it.
pub(super) fn claim(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {shown} cannot be created"))?;
    let marker = folder.join(MARKER);
    if !marker.is_file() {
        let mut entries = std::fs::read_dir(folder).with_context(|| format!("the folder {shown} cannot be read"))?;
        if entries.next().is_some() {
            bail!("{shown} is not empty and not from an earlier demo; choose another folder with --folder");
        }
        let text = "Written by `datafusion-psi demo`, which writes its files anew when it runs here again.\n";
        std::fs::write(&marker, text).with_context(|| format!("{} cannot be written", marker.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_if_it_is_new_empty_or_the_demos_own() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        claim(&folder).unwrap();
        std::fs::write(folder.join("mine.sql"), "SELECT 1").unwrap();
        claim(&folder).unwrap();
        assert!(folder.join("mine.sql").is_file());
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("thesis.txt"), "all of it").unwrap();
        let error = claim(root.path()).unwrap_err().to_string();
        assert!(error.contains("--folder"), "{error}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing was written");
        assert!(claim(&root.path().join("thesis.txt")).is_err(), "a file is no folder");
    }
}
