// Package jwks keeps the public keys of a token issuer at hand: a JSON Web Key Set (RFC 7517), fetched over HTTPS and
// cached, so that verifying a token costs no request.
//
// A key set is somebody else's server in the path of every request of ours, and key ids come from whoever sends a
// token. Four rules follow:
//
//   - A known key never waits for the network. Once a set is MaxAge old, the next use of it starts a fetch in the
//     background and goes on with what is there.
//   - An outage of the issuer is not ours. Keys serve on, stale, up to MaxStale after they were last fetched.
//   - An unknown key id is how a rotation shows itself, and also what an attacker can send without end. It causes at most
//     one fetch per Cooldown, and all who ask meanwhile share it.
//   - What comes back is bounded in time, bytes and keys, and a bad answer never replaces good keys.
//
// The price of the first rule: a key that the issuer withdraws is honored until the first use after MaxAge has had its
// fetch. Config.RefreshWait trades some waiting for that.
package jwks
