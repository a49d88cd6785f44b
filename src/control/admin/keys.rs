//! The life of keys: list, create, rotate, revoke. A secret is in the answer to create and rotate, and nowhere else.

use super::{
    AdminState,
    answer::{Refusal, now},
};
use crate::control::{
    changes::Actor,
    keys::{Issued, KeyDesk, KeyError, KeyView, NewKey, Rotation},
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
pub(super) struct Keys {
    data: Vec<KeyView>,
}

/// A key with its secret, this once.
#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    key: &'a KeyView,
    secret: &'a str,
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Invalid(fields) => {
                let texts: Vec<String> = fields.iter().map(ToString::to_string).collect();
                Self::new(StatusCode::BAD_REQUEST, "invalid_request", texts.join("; ")).with_details(texts)
            }
            KeyError::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no key of this id; GET /admin/v1/keys lists all",
            ),
            KeyError::Conflict(text) => Self::new(StatusCode::CONFLICT, "conflict", text),
            KeyError::Unavailable(text) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text),
        }
    }
}

/// Calls wait for the disk, so they are made where waiting is allowed.
async fn at_desk<T: Send + 'static>(
    state: AdminState,
    call: impl FnOnce(&dyn KeyDesk) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Refusal> {
    let desk: Arc<dyn KeyDesk> = state.keys;
    match tokio::task::spawn_blocking(move || call(&*desk)).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "a change of keys failed");
            Err(KeyError::Unavailable("the change failed; see the log".to_owned()).into())
        }
    }
}

fn secret_answer(status: StatusCode, issued: &Issued) -> Response {
    let body = WithSecret { key: &issued.key, secret: issued.secret.expose() };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(super) async fn list(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Keys>, Refusal> {
    if let Some((key, _)) = pairs.first() {
        return Err(Refusal::bad_query(format!("unknown query key `{key}`; this path takes none")));
    }
    Ok(Json(Keys { data: at_desk(state, |desk| Ok(desk.list())).await? }))
}

pub(super) async fn create(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let asked = NewKey::parse(&body, now().seconds()).map_err(KeyError::Invalid)?;
    let issued = at_desk(state, move |desk| desk.create(asked, &by)).await?;
    Ok(secret_answer(StatusCode::CREATED, &issued))
}

pub(super) async fn rotate(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let rotation = Rotation::parse(&body).map_err(KeyError::Invalid)?;
    let issued = at_desk(state, move |desk| desk.rotate(&id, rotation, &by)).await?;
    Ok(secret_answer(StatusCode::OK, &issued))
}

pub(super) async fn revoke(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, Refusal> {
    Ok(Json(at_desk(state, move |desk| desk.revoke(&id, &by)).await?))
}
