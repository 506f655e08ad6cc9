package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/local"
)

const webhookHelp = `Print the secret by which the receiver at a URL can tell that what it is sent comes from this server. Each URL has its own.
The server need not run, and the receiver can be set up before it is sent anything.

flavorless serve --webhook URL sends each change as a POST, with a CloudEvent in JSON as its body
(application/cloudevents+json), until the receiver answers 2xx within 15 seconds. The headers are those of Standard
Webhooks, for which there are libraries in many languages:

  webhook-id         names the change; the same at every try, so that a repeated one can be told
  webhook-timestamp  seconds since 1970, of this try; refuse what is older than five minutes
  webhook-signature  v1,<base64 of HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>

400, 410, 413, 415 and 422 say that the receiver will never take a change: it is one of the webhook's dead letters at once.
After anything else it is tried again after 1, 2, 4 … seconds, at most 5 minutes, and not before Retry-After; after
--webhook-tries it is a dead letter, too. Those come back by flavorless redrive.`

func newWebhookSecret(t *terminal) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "webhook-secret URL", Short: "Print the secret that changes to a webhook are signed with", Long: webhookHelp,
		Example: "  flavorless webhook-secret https://example.com/changes\n  flavorless serve --webhook https://example.com/changes",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			secret, err := local.WebhookSecret(dir, args[0])
			if errors.Is(err, local.ErrConfig) {
				return usage("%w", err)
			}
			if err != nil {
				return err
			}
			t.printf("%s\n", secret)
			return nil
		},
	}
	dataFlag(c, &dir)
	return c
}
