//! The ResourceManager's REST interface, through which users launch containers without Spark.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Error, Launch, Launched};
use crate::http::Call;
use crate::wait;

/// The longest that a container takes on a busy machine.
const LAUNCH: Duration = Duration::from_secs(120);

/// A client of the ResourceManager at one address.
#[derive(Debug, Clone)]
pub struct Rest {
    web: SocketAddr,
    partition: String,
}

impl Rest {
    /// Launches go to this partition unless they name another.
    pub fn at(web: SocketAddr, partition: String) -> Self {
        Self { web, partition }
    }

    pub fn partition(&self) -> &str {
        &self.partition
    }

    pub fn address(&self) -> SocketAddr {
        self.web
    }

    /// The ids of the nodes that can run containers.
    pub(super) async fn running_nodes(&self) -> Result<Vec<String>, Error> {
        let nodes = self.nodes().await?;
        Ok(nodes.into_iter().filter(|node| node["state"] == "RUNNING").map(|node| id(&node)).collect())
    }

    /// Makes the node with this id a partition of its own.
    pub(super) async fn label(&self, id_of_node: &str, label: &str) -> Result<(), Error> {
        const BY: &str = "user.name=yarn";
        let labels = json!({ "nodeLabelInfo": [{ "name": label, "exclusivity": "true" }] });
        let path = format!("/ws/v1/cluster/add-node-labels?{BY}");
        self.call(Method::POST, &path, Some(&labels), StatusCode::OK).await?;
        let replace = async |node: &str, query: &str| {
            let path = format!("/ws/v1/cluster/nodes/{node}/replace-labels?{query}{BY}");
            self.call(Method::POST, &path, None, StatusCode::OK).await
        };
        // A killed test may have left both behind: a node that still reports, and applications that wait for one.
        for node in self.nodes().await? {
            let labels = node["nodeLabels"].as_array().into_iter().flatten();
            if labels.into_iter().any(|of_node| of_node == label) && id(&node) != id_of_node {
                replace(&id(&node), "").await?;
            }
        }
        for application in self.unfinished_in(label).await? {
            let path = format!("/ws/v1/cluster/apps/{application}/state?{BY}");
            let killed = json!({ "state": "KILLED" });
            self.call(Method::PUT, &path, Some(&killed), StatusCode::ACCEPTED).await?;
        }
        replace(id_of_node, &format!("labels={label}&")).await?;
        Ok(())
    }

    /// The applications that run in this partition or wait for it.
    async fn unfinished_in(&self, label: &str) -> Result<Vec<String>, Error> {
        const PATH: &str = "/ws/v1/cluster/apps?states=NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING";
        let answer = self.call(Method::GET, PATH, None, StatusCode::OK).await?;
        let applications = answer["apps"]["app"].as_array().into_iter().flatten();
        let here = applications.filter(|application| application["amNodeLabelExpression"] == label);
        Ok(here.map(id).collect())
    }

    async fn nodes(&self) -> Result<Vec<Value>, Error> {
        let nodes = self.call(Method::GET, "/ws/v1/cluster/nodes", None, StatusCode::OK).await?;
        Ok(nodes["nodes"]["node"].as_array().cloned().unwrap_or_default())
    }

    /// Launches one container and waits until it has ended.
    pub async fn launch(&self, launch: &Launch) -> Result<Launched, Error> {
        let user = format!("?user.name={}", launch.user);
        let path = format!("/ws/v1/cluster/apps/new-application{user}");
        let application = self.call(Method::POST, &path, None, StatusCode::OK).await?;
        let application = application["application-id"].as_str().unwrap_or_default().to_owned();
        let body = launch.submission(&application, &self.partition);
        self.call(Method::POST, &format!("/ws/v1/cluster/apps{user}"), Some(&body), StatusCode::ACCEPTED)
            .await?;

        Ok(Launched::of(&self.ended(&application, LAUNCH).await?))
    }

    /// Waits until the application has ended, and returns its report.
    pub async fn ended(&self, application: &str, deadline: Duration) -> Result<Value, Error> {
        let what = format!("the end of {application}");
        // Cheaper for the ResourceManager than a report.
        let path = format!("/ws/v1/cluster/apps/{application}/state");
        wait::until(&what, deadline, async || {
            let answer = self.call(Method::GET, &path, None, StatusCode::OK).await;
            match answer.map_err(|error| error.to_string())?["state"].as_str() {
                Some("FINISHED" | "FAILED" | "KILLED") => Ok(()),
                state => Err(format!("{state:?}")),
            }
        })
        .await?;
        self.report(application).await
    }

    /// The applications with this tag.
    pub async fn tagged(&self, tag: &str) -> Result<Vec<String>, Error> {
        let path = format!("/ws/v1/cluster/apps?applicationTags={tag}");
        let answer = self.call(Method::GET, &path, None, StatusCode::OK).await?;
        let applications = answer["apps"]["app"].as_array().into_iter().flatten();
        Ok(applications.filter_map(|application| application["id"].as_str().map(str::to_owned)).collect())
    }

    /// The ResourceManager's current report on an application.
    pub async fn report(&self, application: &str) -> Result<Value, Error> {
        let path = format!("/ws/v1/cluster/apps/{application}");
        let report = self.call(Method::GET, &path, None, StatusCode::OK).await?;
        Ok(report["app"].clone())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        expected: StatusCode,
    ) -> Result<Value, Error> {
        let mut call = Call::new(method.clone(), self.web, path).header("accept", "application/json");
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let answer = call.send().await?;
        let refused =
            |text| Error::Refused { request: format!("{method} {path}"), status: answer.status, text };
        if answer.status != expected {
            return Err(refused(answer.text()));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| refused(error.to_string()))
    }
}

/// The id of a node or of an application.
fn id(of: &Value) -> String {
    of["id"].as_str().unwrap_or_default().to_owned()
}
