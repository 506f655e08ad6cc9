package main

import (
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/issuer"
)

const envHelp = `Print export lines for a shell, so that flavorless, the AWS CLI, curl and NATS clients use
the server of the data folder. The first line unsets AWS variables, such as AWS_PROFILE
and AWS_SESSION_TOKEN, that would make these tools use another account or endpoint.
The token is valid for 12 hours. The lines contain credentials: do not log them.`

func newEnv(t *terminal) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "env", Short: "Print the environment that points other tools at the server", Long: envHelp,
		Example: "  eval \"$(flavorless env)\"\n  aws s3 cp favorites.csv \"s3://$FLAVORLESS_BUCKET/uploads/\"\n" +
			"  curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" \"$FLAVORLESS_URL/team\"\n" +
			"  nats --server \"$FLAVORLESS_NATS_URL\" sub 'flavorless.change.>'",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, err := readInfo(dir)
			if err != nil {
				return err
			}
			nats, err := url.Parse(info.NATS)
			if err != nil {
				return err
			}
			nats.User = url.UserPassword(info.NATSUser, info.NATSPassword)
			token := os.Getenv("FLAVORLESS_TOKEN")
			if info.Development {
				token, err = developmentToken(dir, issuer.Grant{
					Subject: "env", Audience: info.Audience, Scope: info.Scope, TTL: 12 * time.Hour,
				})
				if err != nil {
					return err
				}
			}
			vars := [][2]string{
				{"AWS_ENDPOINT_URL_S3", info.S3}, {"AWS_ACCESS_KEY_ID", info.AccessKey}, {"AWS_SECRET_ACCESS_KEY", info.SecretKey},
				{"AWS_REGION", info.Region}, {"AWS_DEFAULT_REGION", info.Region}, {"FLAVORLESS_URL", info.API},
				{"FLAVORLESS_TOKEN", token}, {"FLAVORLESS_BUCKET", info.Bucket}, {"FLAVORLESS_NATS_URL", nats.String()},
			}
			if asJSON {
				m := map[string]string{}
				for _, v := range vars {
					m[v[0]] = v[1]
				}
				return t.json(m)
			}
			t.printf("unset %s\n", strings.Join(conflictingVars, " "))
			for _, v := range vars {
				t.printf("export %s=%s\n", v[0], shellQuote(v[1]))
			}
			return nil
		},
	}
	dirFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object instead")
	return c
}

// conflictingVars are variables that keep AWS tools from using the exported ones: a session token belongs to another
// credential, the AWS SDK for JavaScript prefers the credential of a profile, and the others change the endpoint.
var conflictingVars = []string{
	"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
}
