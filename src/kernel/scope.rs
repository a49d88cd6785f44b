//! Whom a budget or a rate limit limits.

use super::keys::Principal;
use std::fmt;

/// By what a budget or a rate limit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// Everybody together.
    Org,
    /// By team.
    Team,
    /// By project.
    Project,
    /// By user.
    User,
    /// By key.
    Key,
    /// By session of a caller.
    Session,
}

/// One session of one caller. Its id is a label that the client chooses, so the caller belongs to it: nobody can spend, or
/// exhaust, what another caller's session has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The caller's key.
    pub key: String,
    /// The caller's user.
    pub user: String,
    /// The session's id, as the client says.
    pub id: String,
}

/// Whom a budget limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everybody.
    Org,
    /// One team.
    Team(String),
    /// One project.
    Project(String),
    /// One user.
    User(String),
    /// One key.
    Key(String),
    /// One session.
    Session(Box<Session>),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Org => f.write_str("org"),
            Self::Team(id) => write!(f, "team:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Session(session) => {
                write!(f, "session:{} key:{} user:{}", session.id, session.key, session.user)
            }
        }
    }
}

impl Scope {
    /// The scope of that kind and id; a session's needs its caller too.
    pub fn of(kind: ScopeKind, id: &str) -> Self {
        match kind {
            ScopeKind::Org => Self::Org,
            ScopeKind::Team => Self::Team(id.into()),
            ScopeKind::Project => Self::Project(id.into()),
            ScopeKind::User => Self::User(id.into()),
            ScopeKind::Key => Self::Key(id.into()),
            ScopeKind::Session => {
                Self::Session(Box::new(Session { key: String::new(), user: String::new(), id: id.into() }))
            }
        }
    }

    /// Reads what `Display` wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        let scope = match kind {
            "org" => Self::Org,
            "team" => Self::Team(id.into()),
            "project" => Self::Project(id.into()),
            "user" => Self::User(id.into()),
            "key" => Self::Key(id.into()),
            "session" => {
                let (id, user) = id.rsplit_once(" user:")?;
                let (id, key) = id.rsplit_once(" key:")?;
                Self::Session(Box::new(Session { key: key.into(), user: user.into(), id: id.into() }))
            }
            _ => return None,
        };
        (scope.to_string() == text).then_some(scope)
    }

    /// The scope of a caller's session.
    pub fn session(principal: &Principal, id: &str) -> Self {
        Self::Session(Box::new(Session { key: principal.key.clone(), user: principal.user.clone(), id: id.into() }))
    }

    /// What kind of scope it is.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Org => ScopeKind::Org,
            Self::Team(_) => ScopeKind::Team,
            Self::Project(_) => ScopeKind::Project,
            Self::User(_) => ScopeKind::User,
            Self::Key(_) => ScopeKind::Key,
            Self::Session(_) => ScopeKind::Session,
        }
    }

    /// A pool of several callers, rather than one caller's own.
    pub fn is_pool(&self) -> bool {
        matches!(self, Self::Org | Self::Team(_) | Self::Project(_))
    }

    /// Is this principal limited by it? Of a session, in that session.
    pub fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Org => true,
            Self::Team(id) => *id == principal.team,
            Self::Project(id) => *id == principal.project,
            Self::User(id) => *id == principal.user,
            Self::Key(id) => *id == principal.key,
            Self::Session(session) => session.key == principal.key && session.user == principal.user,
        }
    }

    /// The scopes a principal belongs to, its sessions' left out: key, user, project, team, org.
    pub fn all_of(principal: &Principal) -> impl Iterator<Item = Self> {
        let kinds = [ScopeKind::Key, ScopeKind::User, ScopeKind::Project, ScopeKind::Team];
        let ids = [&principal.key, &principal.user, &principal.project, &principal.team].map(|id| id.as_str());
        let own = kinds.into_iter().zip(ids).filter(|(_, id)| !id.is_empty()).map(|(kind, id)| Self::of(kind, id));
        own.collect::<Vec<_>>().into_iter().chain(std::iter::once(Self::Org))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_written_so_that_it_cannot_be_read_back() {
        let session = |id: &str, key: &str, user: &str| {
            Scope::Session(Box::new(Session { key: key.into(), user: user.into(), id: id.into() }))
        };
        let scopes = [Scope::Org, Scope::Team("a:b".into()), Scope::User("".into()), Scope::Key("k".into())];
        let sessions = [session("s", "k", "u"), session("x key:bob user:bob", "k", ""), session("", "", "a b")];
        for scope in scopes.into_iter().chain(sessions) {
            assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
        assert_eq!([Scope::parse("session:s"), Scope::parse("orgs"), Scope::parse("org:")], [None, None, None]);
    }
}
