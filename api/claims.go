package api

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Claims is what a verified token says.
type Claims struct {
	Subject string // empty if the token has none
	Scopes  []string
	Expires time.Time
}

// verifiedClaims adds what only check looks at.
type verifiedClaims struct {
	Claims
	issuer    string
	audience  []string
	notBefore time.Time // zero when there is none
	issued    time.Time // likewise
}

// errNoClaims stands for a payload that is no set of claims. The decoder's own words might quote it.
var errNoClaims = errors.New("the payload is not a JWT claims set")

// parseClaims reads the payload of a JWT. A member that is named twice is an error, so that no two readers of the same
// token can see different claims (RFC 7519 section 4). So is a claim that is null: null is neither a string nor a date.
func parseClaims(payload []byte) (verifiedClaims, error) {
	var form struct {
		Issuer    text        `json:"iss"`
		Subject   text        `json:"sub"`
		Audience  textOrTexts `json:"aud"`
		Expires   numericDate `json:"exp"`
		NotBefore numericDate `json:"nbf"`
		Issued    numericDate `json:"iat"`
		Scope     textOrTexts `json:"scope"`
		SCP       textOrTexts `json:"scp"`
	}
	if err := unmarshalObject(payload, &form); err != nil {
		return verifiedClaims{}, refuse("the token's claims are malformed", errNoClaims)
	}
	claims := verifiedClaims{
		Claims:    Claims{Subject: string(form.Subject), Expires: form.Expires.Time},
		issuer:    string(form.Issuer),
		audience:  form.Audience,
		notBefore: form.NotBefore.Time,
		issued:    form.Issued.Time,
	}
	// RFC 8693 section 4.2 has "scope" as one string of several scopes; some issuers call it "scp", or make it an array.
	for _, texts := range [][]string{form.Scope, form.SCP} {
		for _, text := range texts {
			claims.Scopes = append(claims.Scopes, strings.Fields(text)...)
		}
	}
	return claims, nil
}

// check is RFC 7519 section 4.1, with "exp" required.
func (c *verifiedClaims) check(config *VerifierConfig) error {
	now := config.Clock()
	switch {
	case c.issuer != config.Issuer:
		return refuse("the token is from another issuer", nil)
	case !slices.Contains(c.audience, config.Audience):
		return refuse("the token is for another audience", nil)
	case c.Expires.IsZero():
		return refuse("the token has no expiry", nil)
	case !now.Before(c.Expires.Add(config.Leeway)):
		return refuse("the token has expired", nil)
	case now.Before(c.notBefore.Add(-config.Leeway)):
		return refuse("the token is not valid yet", nil)
	case now.Before(c.issued.Add(-config.Leeway)):
		return refuse("the token was issued in the future", nil)
	case config.RequiredScope != "" && !slices.Contains(c.Scopes, config.RequiredScope):
		return &AuthError{
			Code: insufficientScope, Description: "the token lacks a scope", Scope: config.RequiredScope,
		}
	}
	return nil
}

// textOrTexts is a string or an array of strings, as "aud" is: RFC 7519 section 4.1.3.
type textOrTexts []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *textOrTexts) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	var list []text
	switch in.PeekKind() {
	case jsontext.KindString:
		list = make([]text, 1)
		if err := json.UnmarshalDecode(in, &list[0]); err != nil {
			return err
		}
	case jsontext.KindBeginArray:
		if err := json.UnmarshalDecode(in, &list); err != nil {
			return err
		}
	default:
		return errors.New("neither a string nor an array")
	}
	*t = make(textOrTexts, len(list))
	for i, one := range list {
		(*t)[i] = string(one)
	}
	return nil
}

// numericDate is a number of seconds since 1970, possibly with a fraction: RFC 7519 section 2.
type numericDate struct{ time.Time }

// lastDate is the end of the year 9999, in seconds. No sane token goes beyond, and time.Time holds it.
const lastDate = 253402300799

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *numericDate) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != jsontext.KindNumber {
		return errors.New("a date that is not a number")
	}
	var seconds float64
	if err := json.UnmarshalDecode(in, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > lastDate {
		return errors.New("a date out of range")
	}
	d.Time = time.UnixMilli(int64(seconds * 1000))
	return nil
}
