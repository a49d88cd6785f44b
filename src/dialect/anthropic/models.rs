//! `GET /v1/models` of format A, answered from memory (contract.md §1.3).

use serde_json::{Value, json};

/// Models on a page unless the client asks otherwise.
const LIMIT_DEFAULT: usize = 20;
/// Models on a page, at most.
const LIMIT_MAX: usize = 1000;

/// One model to list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub display_name: String,
    /// When it came out, RFC 3339.
    pub created_at: String,
    /// Its context window, tokens.
    pub max_input_tokens: u64,
    /// Its longest answer, tokens.
    pub max_tokens: u64,
}

impl Listed {
    /// The model object.
    pub fn object(&self) -> Value {
        json!({
            "type": "model", "id": self.id, "display_name": self.display_name, "created_at": self.created_at,
            "max_input_tokens": self.max_input_tokens, "max_tokens": self.max_tokens, "capabilities": {},
        })
    }
}

/// One page, as the query asks for it: `limit`, `after_id`, `before_id`. The error is what is wrong with the query.
pub fn page(all: &[Listed], query: &str) -> Result<Value, String> {
    let (mut limit, mut from, mut to) = (LIMIT_DEFAULT, 0, all.len());
    let mut backwards = false;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let place = || all.iter().position(|m| m.id == value).ok_or_else(|| format!("{name}: no such model"));
        match name {
            "limit" => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|n| (1..=LIMIT_MAX).contains(n))
                    .ok_or("limit: must be from 1 to 1000")?;
            }
            "after_id" => from = place()? + 1,
            "before_id" => (to, backwards) = (place()?, true),
            _ => {}
        }
    }
    let range = if from >= to { &all[..0] } else { &all[from..to] };
    let shown = if backwards { &range[range.len().saturating_sub(limit)..] } else { &range[..limit.min(range.len())] };
    let id = |model: Option<&Listed>| model.map(|m| m.id.clone());
    Ok(json!({
        "data": shown.iter().map(Listed::object).collect::<Vec<_>>(),
        "has_more": shown.len() < range.len(), "first_id": id(shown.first()), "last_id": id(shown.last()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_shows_every_model_once() {
        let all: Vec<_> = (0..45)
            .map(|n| Listed {
                id: format!("claude-{n}"),
                display_name: String::new(),
                created_at: String::new(),
                max_input_tokens: 1,
                max_tokens: 1,
            })
            .collect();
        let (mut query, mut seen) = (String::new(), 0);
        loop {
            let shown = page(&all, &query).unwrap();
            seen += shown["data"].as_array().unwrap().len();
            if shown["has_more"] == false {
                break;
            }
            query = format!("after_id={}", shown["last_id"].as_str().unwrap());
        }
        assert_eq!(seen, 45);
        assert!(page(&all, "limit=0").is_err() && page(&all, "after_id=x").is_err());
        assert_eq!(page(&all, "limit=1000&beta=true").unwrap()["data"].as_array().unwrap().len(), 45);
    }
}
