package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

func newToken(t *terminal) *cobra.Command {
	var dir string
	var claims issuer.Grant
	var asJSON bool
	c := &cobra.Command{
		Use: "token", Short: "Print a bearer token of the development issuer",
		Long:    "Print a bearer token of the data folder's development issuer. A server that was given an identity provider of its own does not take it.",
		Example: "  curl -H \"Authorization: Bearer $(flavorless token)\" http://127.0.0.1:8080/team",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, err := readInfo(dir)
			if err != nil {
				return err
			}
			if !info.Development {
				return usage("the server on %s takes the tokens of its own identity provider; get one there", dir)
			}
			if claims.TTL <= 0 {
				return usage("--ttl is %s; it has to be positive, such as 1h", claims.TTL)
			}
			is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(dir)})
			if err != nil {
				return usage("%w", err)
			}
			claims.Audience = info.Audience
			token, err := is.Sign(claims)
			if err != nil {
				return err
			}
			if asJSON {
				return t.json(struct {
					Token     string  `json:"access_token"`
					Type      string  `json:"token_type"`
					ExpiresIn float64 `json:"expires_in"` // seconds
				}{token, "Bearer", claims.TTL.Seconds()})
			}
			t.printf("%s\n", token)
			return nil
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&claims.Subject, "subject", "developer", "sub claim: who the token is for")
	c.Flags().StringVar(&claims.Scope, "scope", "", "scope claim, space-separated")
	c.Flags().DurationVar(&claims.TTL, "ttl", time.Hour, "how long the token is good")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object, with the members of an OAuth token response (RFC 6749)")
	return c
}
