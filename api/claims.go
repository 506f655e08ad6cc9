package api

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Claims are the claims of a verified token that the API uses.
type Claims struct {
	Subject string // may be empty
	Scopes  []string
	Expires time.Time
}

// allClaims are Claims and those that only check uses.
type allClaims struct {
	Claims
	issuer    string
	audience  []string
	notBefore time.Time // zero if there is none
	issued    time.Time // zero if there is none
}

// errNoClaims replaces the error of the decoder, which might quote the payload.
var errNoClaims = errors.New("the payload is not a JWT claims set")

// parseClaims decodes the payload of a JWT. A duplicate member is an error, because two parsers could read different
// claims from the same token (RFC 7519 section 4). A claim that is null is an error, because it is neither a string nor
// a date.
func parseClaims(payload []byte) (allClaims, error) {
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
		return allClaims{}, invalid("the token's claims are malformed", errNoClaims)
	}
	claims := allClaims{
		Claims:    Claims{Subject: string(form.Subject), Expires: form.Expires.Time},
		issuer:    string(form.Issuer),
		audience:  form.Audience,
		notBefore: form.NotBefore.Time,
		issued:    form.Issued.Time,
	}
	// In RFC 8693 section 4.2, "scope" is one string of scopes; some issuers call it "scp" or send an array.
	for _, texts := range [][]string{form.Scope, form.SCP} {
		for _, text := range texts {
			claims.Scopes = append(claims.Scopes, strings.Fields(text)...)
		}
	}
	return claims, nil
}

// check validates the claims as RFC 7519 section 4.1 describes, except that "exp" is required.
func (c *allClaims) check(config *VerifierConfig) error {
	now := config.Clock()
	switch {
	case c.issuer != config.Issuer:
		return invalid("the token is from another issuer", nil)
	case !slices.Contains(c.audience, config.Audience):
		return invalid("the token is for another audience", nil)
	case c.Expires.IsZero():
		return invalid("the token has no expiry", nil)
	case !now.Before(c.Expires.Add(Leeway)):
		return invalid("the token has expired", nil)
	case now.Before(c.notBefore.Add(-Leeway)):
		return invalid("the token is not valid yet", nil)
	case now.Before(c.issued.Add(-Leeway)):
		return invalid("the token was issued in the future", nil)
	case config.RequiredScope != "" && !slices.Contains(c.Scopes, config.RequiredScope):
		return &AuthError{
			Code: insufficientScope, Description: "the token lacks the required scope", Scope: config.RequiredScope,
		}
	}
	return nil
}

// textOrTexts is a string or an array of strings, like "aud" in RFC 7519 section 4.1.3.
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
	for i, s := range list {
		(*t)[i] = string(s)
	}
	return nil
}

// numericDate is a number of seconds since 1970, possibly with a fraction: RFC 7519 section 2.
type numericDate struct{ time.Time }

// maxDate is the end of the year 9999, in seconds since 1970.
const maxDate = 253402300799

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *numericDate) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != jsontext.KindNumber {
		return errors.New("a date is not a number")
	}
	var seconds float64
	if err := json.UnmarshalDecode(in, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > maxDate {
		return errors.New("a date is out of range")
	}
	d.Time = time.UnixMilli(int64(seconds * 1000))
	return nil
}
