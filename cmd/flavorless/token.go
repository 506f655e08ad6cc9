package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/issuer"
)

//nolint:gosec // a help text, not a credential
const tokenHelp = `Print a bearer token of the data folder's development issuer. A server that was started
with your own identity provider does not accept it.`

func newToken(t *terminal) *cobra.Command {
	var dir string
	var grant issuer.Grant
	var asJSON bool
	c := &cobra.Command{
		Use: "token", Short: "Print a bearer token of the development issuer", Long: tokenHelp,
		Example: "  curl -H \"Authorization: Bearer $(flavorless token)\" http://127.0.0.1:8080/team",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, err := readInfo(dir)
			if err != nil {
				return err
			}
			if !info.Development {
				return usage("the server of %s accepts only tokens of its identity provider; get one there", displayName(dir))
			}
			if grant.TTL <= 0 {
				return usage("--ttl %s is not positive; give a duration such as 1h", grant.TTL)
			}
			grant.Audience = info.Audience
			token, err := developmentToken(dir, grant)
			if err != nil {
				return err
			}
			if asJSON {
				return t.json(struct {
					Token     string  `json:"access_token"`
					Type      string  `json:"token_type"`
					ExpiresIn float64 `json:"expires_in"` // seconds
				}{token, "Bearer", grant.TTL.Seconds()})
			}
			t.printf("%s\n", token)
			return nil
		},
	}
	dirFlag(c, &dir)
	c.Flags().StringVar(&grant.Subject, "subject", "developer", "sub claim: the user of the token")
	c.Flags().StringVar(&grant.Scope, "scope", "", "scope claim: scopes separated by spaces")
	c.Flags().DurationVar(&grant.TTL, "ttl", time.Hour, "how long the token is valid")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object with the members of an OAuth token response (RFC 6749)")
	return c
}
