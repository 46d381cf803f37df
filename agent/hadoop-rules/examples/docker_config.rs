//! Shows what YARN reads from a Docker config.json: `docker_config FILE`

use std::error::Error;
use std::{env, fs};

use hadoop_rules::client_config;

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().nth(1).ok_or("usage: docker_config FILE")?;
    match client_config::read(&fs::read(file)?) {
        Ok(credentials) if credentials.is_empty() => println!("YARN finds no credential and no error"),
        Ok(credentials) => {
            for registry in credentials.keys() {
                println!("YARN hands Docker a credential for {registry}");
            }
        }
        Err(error) => println!("every launch that names the file fails: {error}"),
    }
    Ok(())
}
