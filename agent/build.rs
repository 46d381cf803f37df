//! Embeds a hash of the crate's sources as its build id, so that a test can detect a stale binary.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let mut sources = Vec::new();
    collect(&root, &mut sources)?;
    sources.sort();

    let mut hasher = DefaultHasher::new();
    for path in &sources {
        path.strip_prefix(&root).unwrap_or(path).hash(&mut hasher);
        fs::read(path)?.hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rustc-env=EMR_ECR_AGENT_BUILD_ID={:016x}", hasher.finish());

    // Set when a package is built.
    let commit = env::var("EMR_ECR_AGENT_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rerun-if-env-changed=EMR_ECR_AGENT_COMMIT");
    println!("cargo::rustc-env=EMR_ECR_AGENT_COMMIT={commit}");
    Ok(())
}

/// Collects every file below the package's directory: its own sources, nested crates, and what they include.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
