//! Which claim says what of a caller.

use super::{Caller, Issuer, Refusal, is_name};
use serde_json::Value;

/// Where the user stands if nobody has said where: an identity provider's usual places, in this order.
const USUAL_USER_CLAIMS: [&str; 4] = ["sub", "email", "preferred_username", "upn"];

/// Where a claim stands: a name, or a JSON Pointer (RFC 6901) if it begins with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Box<str>);

/// A group whose members belong to a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTeam {
    /// As it stands in the token.
    pub group: Box<str>,
    /// The team.
    pub team: Box<str>,
}

/// Which claim says what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimMap {
    /// Person or service; `None` for the usual places.
    pub user: Option<ClaimPath>,
    /// Team.
    pub team: Option<ClaimPath>,
    /// Project.
    pub project: Option<ClaimPath>,
    /// Id in the place of a key's.
    pub key: Option<ClaimPath>,
    /// Groups: a list of texts, or one.
    pub groups: Option<ClaimPath>,
    /// The team of a caller whose token names none: that of the first of these groups the caller is in.
    pub group_teams: Box<[GroupTeam]>,
}

impl ClaimPath {
    /// Takes a path as written; `None` if it is empty, or a pointer with a bad escape.
    pub fn new(text: &str) -> Option<Self> {
        let bad_escape = || text.split('~').skip(1).any(|after| !after.starts_with(['0', '1']));
        let good = !text.is_empty() && (!text.starts_with('/') || !bad_escape());
        good.then(|| Self(text.into()))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        let found = if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&*self.0) };
        found.filter(|value| !value.is_null())
    }

    /// The name in this claim, if it is there. Numbers are taken as they are written: some providers number their users.
    fn name(&self, claims: &Value) -> Result<Option<String>, Refusal> {
        let Some(value) = self.find(claims) else { return Ok(None) };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
            _ => return Err(Refusal::BadClaim(self.0.clone())),
        };
        if is_name(&text) { Ok(Some(text)) } else { Err(Refusal::BadClaim(self.0.clone())) }
    }
}

impl Issuer {
    /// Whom verified claims stand for.
    pub(super) fn caller(&self, claims: &Value) -> Result<Caller, Refusal> {
        let map = &self.claims;
        let optional = |path: &Option<ClaimPath>| match path {
            Some(path) => path.name(claims).map(Option::unwrap_or_default),
            None => Ok(String::new()),
        };
        let groups = self.groups(claims)?;
        let in_group = |wanted: &str| groups.contains(&wanted);
        if !self.allow_groups.is_empty() && !self.allow_groups.iter().any(|group| in_group(group)) {
            return Err(Refusal::Group);
        }
        let mut team = optional(&map.team)?;
        if team.is_empty()
            && let Some(mapped) = map.group_teams.iter().find(|mapped| in_group(&mapped.group))
        {
            team = mapped.team.to_string();
        }
        Ok(Caller { key: optional(&map.key)?, user: self.user(claims)?, team, project: optional(&map.project)? })
    }

    fn user(&self, claims: &Value) -> Result<String, Refusal> {
        let missing = |name: &str| Refusal::MissingClaim(name.into());
        if let Some(path) = &self.claims.user {
            return path.name(claims)?.ok_or_else(|| missing(path.as_str()));
        }
        let usual = USUAL_USER_CLAIMS.iter().find_map(|name| ClaimPath::new(name)?.name(claims).transpose());
        usual.unwrap_or_else(|| Err(missing(&USUAL_USER_CLAIMS.join(" or "))))
    }

    fn groups<'a>(&self, claims: &'a Value) -> Result<Vec<&'a str>, Refusal> {
        let Some(path) = &self.claims.groups else { return Ok(Vec::new()) };
        match path.find(claims) {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(several)) => Ok(several.iter().filter_map(Value::as_str).collect()),
            Some(_) => Err(Refusal::BadClaim(path.as_str().into())),
            None if claims.get("_claim_names").and_then(|elsewhere| elsewhere.get(path.as_str())).is_some() => {
                Err(Refusal::GroupsElsewhere)
            }
            None => Ok(Vec::new()),
        }
    }
}
