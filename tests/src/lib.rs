//! The sandbox that the outer tests and the demo run the agent in: real HDFS and a real registry, and stand-ins for AWS.
//!
//! Everything listens on loopback, lives in a fresh directory and ends with the process that started it. Nothing here
//! knows the agent's code: it is run as the program that it is, given nothing but files.

pub mod agent;
pub mod canary;
pub mod clock;
pub mod ecr;
pub mod hdfs;
pub mod http;
pub mod imds;
pub mod kerberos;
pub mod listener;
pub mod node;
pub mod parts;
pub mod ports;
pub mod process;
pub mod readers;
pub mod reaper;
pub mod registry;
pub mod relay;
pub mod scene;
pub mod scratch;
pub mod screen;
pub mod signature;
pub mod site;
pub mod skopeo;
pub mod sts;
pub mod tls;
pub mod tmpfs;
pub mod torture;
pub mod tracer;
pub mod wait;
pub mod watch;
pub mod yarn;
pub mod yarn_cluster;
