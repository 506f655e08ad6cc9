package main

import (
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newEnv(t *terminal) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "env", Short: "Print export lines that point other tools at the running server",
		Long: `Print export lines for the server that runs on the data folder, so that the aws command line, curl, any NATS client and
flavorless itself find it. A line before them unsets variables of AWS, such as AWS_PROFILE and AWS_SESSION_TOKEN, that would
lead tools elsewhere. The token is good for 12 hours. The lines have credentials: do not log them.`,
		Example: "  eval \"$(flavorless env)\"\n  aws s3 cp favorites.csv \"s3://$FLAVORLESS_BUCKET/uploads/\"\n  curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" \"$FLAVORLESS_URL/team\"\n  nats --server \"$FLAVORLESS_NATS_URL\" sub 'flavorless.change.>'",
		Args:    cobra.NoArgs,
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
				if token, err = developmentToken(dir, info, "env", 12*time.Hour); err != nil {
					return err
				}
			}
			vars := [][2]string{
				{"AWS_ENDPOINT_URL_S3", info.S3}, {"AWS_ACCESS_KEY_ID", info.AccessKey}, {"AWS_SECRET_ACCESS_KEY", info.SecretKey},
				{"AWS_REGION", info.Region}, {"AWS_DEFAULT_REGION", info.Region}, {"FLAVORLESS_URL", info.API}, {"FLAVORLESS_TOKEN", token}, {"FLAVORLESS_BUCKET", info.Bucket},
				{"FLAVORLESS_NATS_URL", nats.String()},
			}
			if asJSON {
				m := map[string]string{}
				for _, v := range vars {
					m[v[0]] = v[1]
				}
				return t.json(m)
			}
			t.printf("unset %s\n", strings.Join(inTheWay, " "))
			for _, v := range vars {
				t.printf("export %s=%s\n", v[0], shellQuote(v[1]))
			}
			return nil
		},
	}
	dataFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object instead")
	return c
}

// inTheWay are variables with which AWS's tools would not use the exported ones: a session token is of another credential, the
// AWS SDK for JavaScript prefers a profile's credential, and the others choose another endpoint or refuse this one.
var inTheWay = []string{
	"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
