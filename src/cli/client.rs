//! How commands ask the admin API of a running gateway.

use clap::Args;
use serde_json::Value;
use std::{
    io::{self, Write},
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

/// Where the token is looked for if `--token` is not given.
pub const TOKEN_VARIABLE: &str = "WEIR_ADMIN_TOKEN";
/// How long the gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Which gateway, and who asks.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// The admin listener of the gateway
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub admin: String,
    /// The admin token; better given as WEIR_ADMIN_TOKEN, since arguments are visible to other users of the host
    #[arg(long)]
    pub token: Option<String>,
}

impl AdminArgs {
    /// The token given, or that of the environment; empty if there is none.
    pub fn token(&self) -> String {
        self.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok()).unwrap_or_default()
    }
}

/// A gateway to ask.
pub struct Client {
    agent: Agent,
    admin: String,
    bearer: String,
}

impl Client {
    /// Checks what can be checked before anybody is asked.
    pub fn new(admin: &str, token: &str) -> Result<Self, String> {
        let admin = admin.trim_end_matches('/').to_owned();
        if !admin.starts_with("http://") {
            return Err(format!(
                "`{admin}` is no admin URL; write http://HOST:PORT, as `admin` in the [listen] table says"
            ));
        }
        if token.is_empty() {
            return Err(format!(
                "no admin token; set {TOKEN_VARIABLE} or give --token, as admin.token in the configuration"
            ));
        }
        // The admin listener is near; a proxy of the environment is for the world outside.
        let config = Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(ANSWER_TIMEOUT)).build().into();
        Ok(Self { agent, admin, bearer: format!("Bearer {token}") })
    }

    /// The body of the answer to a question.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, String> {
        let request = self.agent.get(format!("{}{path}", self.admin)).query_pairs(query.iter().copied());
        self.read(request.header("authorization", &self.bearer).call())
    }

    /// The body of the answer to a command; `body` is JSON, or empty.
    pub fn send(&self, method: &str, path: &str, body: String) -> Result<String, String> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.admin));
        let request = request.header("authorization", &self.bearer).header("content-type", "application/json");
        let request = request.body(body).map_err(|error| format!("`{}` is no admin URL: {error}", self.admin))?;
        self.read(self.agent.run(request))
    }

    fn read(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<String, String> {
        let admin = &self.admin;
        let cannot =
            |error: ureq::Error| format!("cannot reach the admin API at {admin}: {error}. Is the gateway running?");
        let mut answer = answer.map_err(cannot)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(cannot)?;
        match answer.status().as_u16() {
            200 | 201 => Ok(body),
            401 => {
                Err(format!("{admin} does not accept this admin token; it must be admin.token of its configuration"))
            }
            status => Err(format!("{admin} answered {status}: {}", message_of(&body))),
        }
    }
}

fn message_of(body: &str) -> String {
    let message =
        serde_json::from_str::<Value>(body).ok().and_then(|v| Some(v["error"]["message"].as_str()?.to_owned()));
    message.unwrap_or_else(|| body.chars().take(200).collect())
}

/// Prints on stdout.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read us, `head` perhaps, has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot print: {error}")),
        _ => Ok(()),
    }
}
