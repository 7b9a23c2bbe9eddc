"""Who vouches for people: OpenID providers, asked over HTTPS by the authorization code flow with PKCE.

`asking` bounds what is asked and read, `discovery` finds an issuer's addresses and keys and keeps them for a while,
`id_tokens` verifies what an issuer signed, `openid_provider` puts them together, `house` has all that are configured.
What a verified identity is worth is decided in `policy.sso`. The library for signatures (joserfc) is an extra of the
package, `llm-extproc[sso]`; what must do without it imports `questions` only.
"""
