//! Writes Hadoop's site files, which are XML lists of names and values.

use std::fs;
use std::io;
use std::path::Path;

/// Writes `properties` to `path`, replacing the file.
pub fn write(path: &Path, properties: &[(&str, &str)]) -> io::Result<()> {
    let mut xml = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
    for (name, value) in properties {
        let (name, value) = (escaped(name), escaped(value));
        xml.push_str(&format!(
            "  <property>\n    <name>{name}</name>\n    <value>{value}</value>\n  </property>\n"
        ));
    }
    xml.push_str("</configuration>\n");
    fs::write(path, xml)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
