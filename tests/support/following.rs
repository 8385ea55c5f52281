//! A command that runs until it is killed (`-f`), and its output.

use std::{fs, process::Child};

use tempfile::NamedTempFile;

use super::Place;

/// A command that runs until it is killed; its standard output goes to a file.
pub(crate) struct Following {
    child: Child,
    out: NamedTempFile,
}

impl Following {
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        let out = NamedTempFile::new_in(place.path("")).unwrap();
        let child = place.command(args).stdout(out.reopen().unwrap()).spawn().unwrap();
        Self { child, out }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.out.path()).unwrap()
    }

    pub(crate) fn lines(&self) -> usize {
        self.printed().lines().count()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
