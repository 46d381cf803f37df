//! The harness of the outer tests and of the programs in `tools/`: a real HDFS, a real registry, and stand-ins for AWS.
//!
//! Everything listens on loopback, lives in a fresh directory and ends with the process that started it. Servers that
//! tests share end soon after the last test. Tests run the agent's binary and configure it with files.

pub mod agent;
mod background;
pub mod canary;
pub mod clock;
pub mod ecr;
pub mod executor_config;
pub mod fault;
pub mod hdfs;
pub mod http;
pub mod imds;
pub mod keeper;
pub mod kerberos;
pub mod line_server;
pub mod listener;
pub mod node;
pub mod parts;
pub mod ports;
pub mod process;
pub mod readers;
pub mod reaper;
pub mod registry;
pub mod relay;
mod reservation;
pub mod schema;
pub mod scratch;
pub mod screen;
pub mod signature;
pub mod site;
pub mod skopeo;
pub mod storm;
pub mod sts;
pub mod testbed;
pub mod tls;
pub mod tmpfs;
pub mod torture;
pub mod tracer;
pub mod wait;
pub mod watch;
pub mod yarn;
pub mod yarn_cluster;
