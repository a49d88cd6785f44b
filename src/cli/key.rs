//! `weir key`: the life of gateway keys, by the admin API of a running gateway. A secret is printed once, on stdout.

use super::client::{AdminArgs, Client, print};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// What to do with keys.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    /// Which change.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// The life of a key.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print its secret, this once
    Create(CreateArgs),
    /// List all keys, configured ones and those made at run time
    List(ListArgs),
    /// Give a key a new secret and print it, this once; the old one works on for a while
    Rotate(RotateArgs),
    /// Revoke a key: it opens nothing any more, on no shard, within a second
    Revoke(RevokeArgs),
}

/// A key to be made.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Its id: 1 to 64 letters, digits, dots, underscores or hyphens
    #[arg(long)]
    pub id: String,
    /// Person or service
    #[arg(long)]
    pub user: Option<String>,
    /// Team
    #[arg(long)]
    pub team: Option<String>,
    /// Project
    #[arg(long)]
    pub project: Option<String>,
    /// Models it may use, such as claude-haiku-*,claude-sonnet-*; all if not given
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub models: Vec<String>,
    /// From when it is no longer valid: RFC 3339, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "T")]
    pub expires: Option<String>,
    /// How to print it.
    #[command(flatten)]
    pub output: SecretOutput,
    /// Whom to ask.
    #[command(flatten)]
    pub api: AdminArgs,
}

/// Which keys to list: all.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = KeyFormat::Table)]
    pub format: KeyFormat,
    /// Whom to ask.
    #[command(flatten)]
    pub api: AdminArgs,
}

/// Which key gets a new secret.
#[derive(Args, Clone, Debug)]
pub struct RotateArgs {
    /// Its id
    pub id: String,
    /// How long the old secret works on, such as 1h; 0 ends it at once; a day if not given
    #[arg(long, value_name = "DURATION")]
    pub grace: Option<String>,
    /// How to print it.
    #[command(flatten)]
    pub output: SecretOutput,
    /// Whom to ask.
    #[command(flatten)]
    pub api: AdminArgs,
}

/// Which key is revoked.
#[derive(Args, Clone, Debug)]
pub struct RevokeArgs {
    /// Its id
    pub id: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = KeyFormat::Table)]
    pub format: KeyFormat,
    /// Whom to ask.
    #[command(flatten)]
    pub api: AdminArgs,
}

/// How a new secret is printed.
#[derive(Args, Clone, Debug)]
pub struct SecretOutput {
    /// How to print it
    #[arg(long, value_enum, default_value_t = KeyFormat::Table)]
    pub format: KeyFormat,
    /// Print the secret alone, for scripts
    #[arg(long, short, conflicts_with = "format")]
    pub quiet: bool,
}

/// How keys are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyFormat {
    /// For people.
    Table,
    /// The answer as it came.
    Json,
}

/// Runs the command: 0, or 1 with the reason on stderr.
pub fn run(args: &KeyArgs) -> ExitCode {
    let (api, name) = match &args.command {
        KeyCommand::Create(args) => (&args.api, "create"),
        KeyCommand::List(args) => (&args.api, "list"),
        KeyCommand::Rotate(args) => (&args.api, "rotate"),
        KeyCommand::Revoke(args) => (&args.api, "revoke"),
    };
    let done = Client::new(&api.admin, &api.token()).and_then(|client| ask(&args.command, &client));
    match done.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir key {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(command: &KeyCommand, client: &Client) -> Result<String, String> {
    match command {
        KeyCommand::Create(args) => {
            let body = client.send("POST", "/admin/v1/keys", args.body().to_string())?;
            show_secret(&args.output, &body)
        }
        KeyCommand::Rotate(args) => {
            let body = args.grace.as_ref().map_or_else(String::new, |grace| json!({ "grace": grace }).to_string());
            let body = client.send("POST", &format!("/admin/v1/keys/{}/rotate", step(&args.id)?), body)?;
            show_secret(&args.output, &body)
        }
        KeyCommand::Revoke(args) => {
            let body = client.send("DELETE", &format!("/admin/v1/keys/{}", step(&args.id)?), String::new())?;
            match args.format {
                KeyFormat::Json => Ok(format!("{body}\n")),
                KeyFormat::Table => Ok(format!("key {} is revoked\n", args.id)),
            }
        }
        KeyCommand::List(args) => {
            let body = client.get("/admin/v1/keys", &[])?;
            match args.format {
                KeyFormat::Json => Ok(format!("{body}\n")),
                KeyFormat::Table => table_of(&parsed(&body)?),
            }
        }
    }
}

impl CreateArgs {
    fn body(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("id".into(), self.id.clone().into());
        let texts =
            [("user", &self.user), ("team", &self.team), ("project", &self.project), ("expires", &self.expires)];
        for (field, text) in texts {
            fields.extend(text.clone().map(|text| (field.to_owned(), text.into())));
        }
        if !self.models.is_empty() {
            fields.insert("models".into(), self.models.clone().into());
        }
        Value::Object(fields)
    }
}

/// An id as a step of a path; what can be no id must not lead elsewhere.
fn step(id: &str) -> Result<&str, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
    if id.is_empty() || id.bytes().all(|b| b == b'.') || !id.bytes().all(plain) {
        return Err(format!("`{}` can be no id of a key", id.escape_debug()));
    }
    Ok(id)
}

fn parsed(body: &str) -> Result<Value, String> {
    serde_json::from_str(body).map_err(|error| format!("the answer is no JSON: {error}"))
}

fn show_secret(output: &SecretOutput, body: &str) -> Result<String, String> {
    if !output.quiet && output.format == KeyFormat::Json {
        return Ok(format!("{body}\n"));
    }
    let answer = parsed(body)?;
    let secret = answer["secret"].as_str().ok_or("the answer has no secret; is this the admin API of weir?")?;
    if output.quiet {
        return Ok(format!("{secret}\n"));
    }
    let id = answer["id"].as_str().unwrap_or("?");
    let old = match answer["previous_valid_until"].as_str() {
        Some(until) => format!("The secret before it works until {until}.\n"),
        None => String::new(),
    };
    Ok(format!("key     {id}\nsecret  {secret}\n\nThis is shown once; weir keeps a digest only.\n{old}"))
}

fn table_of(answer: &Value) -> Result<String, String> {
    let keys = answer["data"].as_array().ok_or("the answer has no `data`; is this the admin API of weir?")?;
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    const FIELDS: [&str; 7] = ["id", "state", "source", "user", "team", "project", "expires"];
    table.set_header(FIELDS.into_iter().chain(["models"]));
    for key in keys {
        let texts = FIELDS.map(|field| key[field].as_str().unwrap_or("").to_owned());
        let models = key["models"].as_array().map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        table.add_row(texts.into_iter().chain([models.map_or_else(|| "all".to_owned(), |list| list.join(", "))]));
    }
    Ok(format!("{table}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_another_path_of_the_admin_api() {
        for wrong in ["", ".", "..", "a/b", "a?b", "a#b", "%2e", "a b"] {
            assert!(step(wrong).is_err(), "{wrong}");
        }
        assert_eq!(step("dev-alice.2_x"), Ok("dev-alice.2_x"));
    }

    #[test]
    fn quiet_prints_more_than_the_secret() {
        let body = r#"{"id":"k","previous_valid_until":"2027","secret":"weir_x"}"#;
        let output = |quiet, format| SecretOutput { quiet, format };
        assert_eq!(show_secret(&output(true, KeyFormat::Table), body).unwrap(), "weir_x\n");
        assert_eq!(show_secret(&output(false, KeyFormat::Json), body).unwrap(), format!("{body}\n"));
        let text = show_secret(&output(false, KeyFormat::Table), body).unwrap();
        assert!(text.contains("secret  weir_x\n") && text.contains("works until 2027"), "{text}");
        assert!(show_secret(&output(true, KeyFormat::Table), "{}").is_err());
    }
}
