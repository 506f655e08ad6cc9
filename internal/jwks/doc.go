// Package jwks caches the public keys of a token issuer: a JSON Web Key Set (RFC 7517) that is fetched over HTTPS.
// Verifying a token normally needs no request to the issuer.
//
// Every request to the API depends on the issuer's server, and clients choose the key ids in their tokens. Therefore:
//
//   - A known key never waits for the network. If the set is older than MaxAge, the next use starts a fetch in the
//     background and continues with the cached keys.
//   - An outage of the issuer is not an outage of the API. Cached keys are used up to MaxStale after their last fetch.
//   - An unknown key id causes at most one fetch per Cooldown, which concurrent callers share. The issuer may have
//     rotated its keys, but a client can also send any number of invented ids.
//   - Responses are limited in time, bytes and keys, and an invalid response never replaces cached keys.
//
// The first rule has a price: a key that the issuer withdraws is accepted until a fetch after MaxAge has finished.
// Config.RefreshWait makes callers wait for that fetch.
package jwks
