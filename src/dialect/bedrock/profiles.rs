//! `GET /inference-profiles…`, answered from memory (contract.md §1.2): what the gateway routes looks like system profiles.

use crate::kernel::pricing::canonical;
use serde_json::{Value, json};

/// Profiles on a page unless the client asks otherwise.
const LIMIT_DEFAULT: usize = 1000;

/// One profile to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its id, with its geography.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// When it came out, RFC 3339.
    pub created_at: String,
}

impl Profile {
    /// The profile object.
    pub fn object(&self) -> Value {
        let base = self.id.split_once("anthropic.").map_or(self.id.as_str(), |(_, name)| name);
        json!({
            "inferenceProfileName": self.name, "description": format!("{} by this gateway", self.name),
            "createdAt": self.created_at, "updatedAt": self.created_at,
            "inferenceProfileArn": format!("arn:aws:bedrock:us-east-1:000000000000:inference-profile/{}", self.id),
            "models": [{ "modelArn": format!("arn:aws:bedrock:us-east-1::foundation-model/anthropic.{base}") }],
            "inferenceProfileId": self.id, "status": "ACTIVE", "type": "SYSTEM_DEFINED",
        })
    }
}

/// One page, as the query asks for it: `type`, `maxResults`, `nextToken`. The error is what is wrong with the query.
pub fn page(all: &[Profile], query: &str) -> Result<Value, String> {
    let (mut limit, mut from) = (LIMIT_DEFAULT, 0);
    let mut shown = all;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "type" if value.eq_ignore_ascii_case("APPLICATION") => shown = &[],
            "maxResults" => {
                let given = value.parse().ok().filter(|n| (1..=LIMIT_DEFAULT).contains(n));
                limit = given.ok_or("maxResults: must be from 1 to 1000")?;
            }
            "nextToken" => from = value.parse().map_err(|_| "nextToken: is none of this gateway's")?,
            _ => {}
        }
    }
    let rest = shown.get(from..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = (page.len() < rest.len()).then(|| (from + page.len()).to_string());
    Ok(json!({
        "inferenceProfileSummaries": page.iter().map(Profile::object).collect::<Vec<_>>(), "nextToken": next,
    }))
}

/// The profile that an id or an ARN names; its geography does not matter, since the gateway chooses its own.
pub fn find<'a>(all: &'a [Profile], asked: &str) -> Option<&'a Profile> {
    let name = asked.rsplit_once('/').map_or(asked, |(_, name)| name);
    all.iter().find(|p| p.id == name).or_else(|| all.iter().find(|p| canonical(&p.id) == canonical(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: &str) -> Profile {
        Profile { id: id.into(), name: "Claude".into(), created_at: "2026-02-17T00:00:00Z".into() }
    }

    #[test]
    fn every_profile_is_on_one_page_and_application_profiles_are_none_of_ours() {
        let all: Vec<_> = (0..7).map(|n| profile(&format!("us.anthropic.claude-{n}"))).collect();
        let (mut token, mut seen) = (String::new(), 0);
        loop {
            let shown = page(&all, &format!("type=SYSTEM_DEFINED&maxResults=3{token}")).unwrap();
            seen += shown["inferenceProfileSummaries"].as_array().unwrap().len();
            match shown["nextToken"].as_str() {
                Some(next) => token = format!("&nextToken={next}"),
                None => break,
            }
        }
        assert_eq!(seen, 7);
        assert_eq!(page(&all, "type=APPLICATION").unwrap()["inferenceProfileSummaries"], json!([]));
        assert!(page(&all, "maxResults=0").is_err() && page(&all, "nextToken=x").is_err());
        assert_eq!(page(&all, "nextToken=99").unwrap()["inferenceProfileSummaries"], json!([]));
    }

    #[test]
    fn a_profile_is_found_by_id_and_by_arn() {
        let all = [profile("us.anthropic.claude-sonnet-4-6")];
        for asked in [
            "us.anthropic.claude-sonnet-4-6",
            "eu.anthropic.claude-sonnet-4-6",
            "arn:aws:bedrock:eu-west-1:1:inference-profile/us.anthropic.claude-sonnet-4-6",
        ] {
            assert!(find(&all, asked).is_some(), "{asked}");
        }
        assert!(find(&all, "us.anthropic.claude-sonnet-4").is_none());
        let object = all[0].object();
        assert_eq!(
            object["models"][0]["modelArn"],
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6"
        );
        assert_eq!((&object["status"], &object["type"]), (&"ACTIVE".into(), &"SYSTEM_DEFINED".into()));
    }
}
