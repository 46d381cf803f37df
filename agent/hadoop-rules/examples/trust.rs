//! Shows whether a container-executor.cfg trusts images: `trust FILE IMAGE...`

use std::error::Error;
use std::{env, fs};

use hadoop_rules::executor_config::{ExecutorConfig, lossy};
use hadoop_rules::trust::{Container, trusting_entry};
use hadoop_rules::{Rules, image_name};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let Some(file) = arguments.next() else {
        return Err("usage: trust FILE IMAGE...".into());
    };
    let text = fs::read(&file)?;
    let images: Vec<String> = arguments.collect();
    for rules in Rules::ALL {
        let config = match ExecutorConfig::parse(text.clone(), rules) {
            Ok(config) => config,
            Err(error) => {
                println!("Hadoop {rules}: container-executor refuses the file: {error}");
                continue;
            }
        };
        for image in &images {
            let read = image_name::in_command_file(image.as_bytes()).unwrap_or_default();
            match trusting_entry(&config, Container::Normal, read) {
                Some(entry) => println!("Hadoop {rules}: {image} is trusted by the entry {:?}", lossy(entry)),
                None => println!("Hadoop {rules}: {image} is not trusted"),
            }
        }
    }
    Ok(())
}
