//! A small file system in memory.

use alloc::collections::BTreeMap;

use super::Paths;

enum Node {
    Directory,
    File,
    Link(&'static str),
}

pub(in super::super) struct FakePaths(BTreeMap<&'static str, Node>);

impl FakePaths {
    /// Directories end in a slash; a link is `path -> target`.
    pub(crate) fn new(listing: &[&'static str]) -> Self {
        let node = |line: &&'static str| match line.split_once(" -> ") {
            Some((path, target)) => (path, Node::Link(target)),
            None => match line.strip_suffix('/') {
                Some(path) => (path, Node::Directory),
                None => (*line, Node::File),
            },
        };
        Self(listing.iter().map(node).collect())
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let mut real = String::new();
        for part in path.strip_prefix('/')?.split('/') {
            match part {
                "" | "." => continue,
                ".." => real.truncate(real.rfind('/').unwrap_or(0)),
                name => real = self.step(&format!("{real}/{name}"))?,
            }
        }
        Some(real)
    }

    fn step(&self, path: &str) -> Option<String> {
        match self.0.get(path)? {
            Node::Link(target) => self.resolve(target),
            Node::Directory | Node::File => Some(path.to_owned()),
        }
    }
}

impl Paths for FakePaths {
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>> {
        let real = self.resolve(core::str::from_utf8(path).ok()?)?;
        Some(if real.is_empty() { "/" } else { &real }.into())
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        let path = core::str::from_utf8(path).unwrap_or_default();
        path == "/" || matches!(self.0.get(path), Some(Node::Directory))
    }
}
