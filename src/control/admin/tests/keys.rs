//! Keys over the admin API, with a store and nobody to publish to.

use super::*;
use crate::control::changes::Actor;
use crate::control::keys::{Issued, KeyDesk, KeyError, KeyStore, KeyView, NewKey, Rotation};
use parking_lot::Mutex;
use std::path::Path;

/// A store without shards.
pub(super) struct Desk(Mutex<KeyStore>);

impl Desk {
    pub(super) fn new(directory: &Path) -> Self {
        Self(Mutex::new(KeyStore::open(directory).unwrap_or_else(|error| panic!("{error}"))))
    }
}

impl KeyDesk for Desk {
    fn list(&self) -> Vec<KeyView> {
        self.0.lock().views(answer::now().seconds())
    }

    fn create(&self, asked: NewKey, _by: &Actor) -> Result<Issued, KeyError> {
        self.0.lock().create(asked, &[], answer::now().seconds())
    }

    fn rotate(&self, id: &str, rotation: Rotation, _by: &Actor) -> Result<Issued, KeyError> {
        self.0.lock().rotate(id, rotation, &[], answer::now().seconds())
    }

    fn revoke(&self, id: &str, _by: &Actor) -> Result<KeyView, KeyError> {
        self.0.lock().revoke(id, &[], answer::now().seconds())
    }
}

#[test]
fn a_key_cannot_be_made_listed_rotated_or_revoked() {
    let api = serve();
    let path = "/admin/v1/keys";
    let (status, made) = api.send("POST", path, r#"{"id":"k1","team":"platform","models":["claude-*"]}"#);
    assert_eq!(
        (status, &made["id"], &made["state"], &made["team"]),
        (201, &"k1".into(), &"active".into(), &"platform".into())
    );
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.len() == 48 && secret.starts_with("weir_"));
    let (status, rotated) = api.send("POST", "/admin/v1/keys/k1/rotate", r#"{"grace":"1h"}"#);
    assert_eq!((status, &rotated["state"]), (200, &"rotating".into()));
    assert_ne!(rotated["secret"], made["secret"]);
    let (_, listed) = api.get(path);
    assert_eq!((&listed["data"][0]["state"], &listed["data"][0]["source"]), (&"rotating".into(), &"admin_api".into()));
    assert!(!listed.to_string().contains("weir_") && !listed.to_string().contains("sha256"), "{listed}");
    let (status, revoked) = api.send("DELETE", "/admin/v1/keys/k1", "");
    assert_eq!((status, &revoked["state"]), (200, &"revoked".into()));
    assert_eq!(api.send("DELETE", "/admin/v1/keys/k1", "").0, 200, "twice is no error");
}

#[test]
fn a_wrong_change_of_keys_is_not_told_by_its_field() {
    let api = serve();
    let path = "/admin/v1/keys";
    let (status, answer) = api.send("POST", path, r#"{"id":"a b","tema":"x"}"#);
    assert_eq!((status, answer["error"]["errors"].as_array().map(Vec::len)), (400, Some(2)), "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("id: ") && message.contains("tema: ") && message.contains("team"), "{message}");
    assert_eq!(api.send("POST", path, r#"{"id":"k1"}"#).0, 201);
    assert_eq!(api.send("POST", path, r#"{"id":"k1"}"#).0, 409);
    assert_eq!(api.send("POST", "/admin/v1/keys/k2/rotate", "").0, 404);
    assert_eq!(api.send("POST", "/admin/v1/keys/k1/rotate", r#"{"grace":"soon"}"#).0, 400);
    assert_eq!(api.send("DELETE", "/admin/v1/keys/k2", "").0, 404);
    let (status, message) = api.error("/admin/v1/keys/k1");
    assert!(status == 405 && message.contains("DELETE"), "{message}");
    assert_eq!(api.get("/admin/v1/keys?x=1").0, 400);
}
