//! Microsoft Entra ID: a client secret, a federated workload, or the host's managed identity (contract.md §5.5). What this
//! workload is stands in the environment, as Azure's own clients read it.

use super::{Fresh, MintError, http};

/// What the token is for.
const SCOPE: &str = "https://ai.azure.com/.default";
const RESOURCE: &str = "https://ai.azure.com";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The managed identities of virtual machines.
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Asks for a token with whatever proof there is.
pub(super) async fn token() -> Result<Fresh, MintError> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = http::client()?;
    let secret = env("AZURE_CLIENT_SECRET");
    let federated = env("AZURE_FEDERATED_TOKEN_FILE");
    if secret.is_none() && federated.is_none() {
        return http::bearer("the managed identity endpoint", managed(http::link_client()?, &env)?).await;
    }
    let need = |name: &str| env(name).ok_or_else(|| MintError::new(format!("{name} is not set")));
    let (tenant, id) = (need("AZURE_TENANT_ID")?, need("AZURE_CLIENT_ID")?);
    let authority = env("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
    let mut form =
        vec![("grant_type", "client_credentials".to_owned()), ("scope", SCOPE.to_owned()), ("client_id", id)];
    match (secret, federated) {
        (Some(secret), _) => form.push(("client_secret", secret)),
        (None, Some(file)) => {
            // Read anew each time: the platform replaces it.
            let assertion = tokio::fs::read_to_string(&file)
                .await
                .map_err(|error| MintError::new(format!("AZURE_FEDERATED_TOKEN_FILE cannot be read: {error}")))?;
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            form.push(("client_assertion_type", kind.to_owned()));
            form.push(("client_assertion", assertion.trim().to_owned()));
        }
        (None, None) => {}
    }
    http::bearer("the Entra token endpoint", client.post(url).form(&form)).await
}

fn managed(
    client: &reqwest::Client,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<reqwest::RequestBuilder, MintError> {
    let (endpoint, version, header) = match (env("IDENTITY_ENDPOINT"), env("IDENTITY_HEADER")) {
        (Some(endpoint), Some(header)) => (endpoint, "2019-08-01", ("x-identity-header", header)),
        _ => (IMDS.to_owned(), "2018-02-01", ("metadata", "true".to_owned())),
    };
    let mut query = vec![("api-version", version.to_owned()), ("resource", RESOURCE.to_owned())];
    query.extend(env("AZURE_CLIENT_ID").map(|id| ("client_id", id)));
    let url = reqwest::Url::parse_with_params(&endpoint, &query)
        .map_err(|_| MintError::new("IDENTITY_ENDPOINT is no URL"))?;
    Ok(client.get(url).header(header.0, header.1))
}
