package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/webhook"
)

const webhookHelp = `Print the secret with which the receiver at a URL can verify that a request comes from this
server. Each URL has its own secret. The server need not run, so you can set up the receiver
first.

If the URL itself is a secret, do not put it on the command line, which ps shows to all users.
Put it into a file for --webhook-file, or pass it on standard input with the argument -. With
more than one URL, each line of the output has the webhook's name, as in the server's log and
queues, and its secret.

Use https. http is only for localhost, loopback addresses and private addresses (10.0.0.0/8,
172.16.0.0/12, 192.168.0.0/16, fc00::/7). The server refuses link-local, unspecified and
multicast addresses, the metadata services of clouds, and host names that resolve to these
addresses when it delivers a change. A URL can't have a user name, a password, a fragment,
spaces or control characters. Other characters that are invalid in URLs are percent-encoded.

flavorless serve --webhook URL sends each change as a POST request with a CloudEvent in JSON
(application/cloudevents+json), until the receiver answers 2xx within 15 seconds. The headers
are those of Standard Webhooks, which has libraries in many languages:

  webhook-id         the id of the change, the same at every try; use it to detect duplicates
  webhook-timestamp  the time of this try in seconds since 1970; refuse it after five minutes
  webhook-signature  v1,<base64 of HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>

An answer of 400, 410, 413, 415 or 422 means that the receiver will never accept the change,
so it becomes a dead letter of the webhook at once. After any other answer, the server tries
again after 1, 2, 4 … seconds, at most 5 minutes, but not before the time in Retry-After.
After the number of tries in serve --webhook-tries, the change becomes a dead letter, too. To
deliver dead letters again, use flavorless redrive.`

func newWebhookSecret(t *terminal) *cobra.Command {
	var dir, file string
	var asJSON bool
	c := &cobra.Command{
		Use: "webhook-secret URL|-", Short: "Print the secret that signs the requests to a webhook", Long: webhookHelp,
		Example: "  flavorless webhook-secret https://example.com/changes\n  flavorless webhook-secret - < webhooks\n" +
			"  flavorless webhook-secret --webhook-file webhooks\n  flavorless serve --webhook-file webhooks",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (file == "") {
				return usage("webhook-secret needs either a URL, - for standard input, or --webhook-file; " +
					"see: flavorless webhook-secret --help")
			}
			urls := args
			var err error
			switch {
			case file != "":
				urls, _, err = readWebhookFile(file)
			case args[0] == "-":
				urls, err = readWebhooks(t.in, "standard input")
			}
			if err != nil {
				return err
			}
			if len(urls) == 0 {
				return usage("the input has no webhook URL; write one URL per line")
			}
			return t.webhookSecrets(dir, urls, asJSON)
		},
	}
	dirFlag(c, &dir)
	c.Flags().StringVar(&file, "webhook-file", "", "read the URLs from this file, in the format of serve --webhook-file")
	c.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON for each URL, with the webhook's name and secret")
	return c
}

// webhookSecrets prints the secret of one URL, or the names and secrets of several.
func (t *terminal) webhookSecrets(dir string, urls []string, asJSON bool) error {
	for _, url := range urls {
		secret, err := local.WebhookSecret(dir, url)
		if errors.Is(err, local.ErrConfig) {
			return usage("%w", err)
		}
		if err != nil {
			return err
		}
		name, err := webhook.Name(url)
		if err != nil {
			return err
		}
		switch {
		case asJSON:
			err = t.json(struct {
				Name   string `json:"name"`
				Secret string `json:"secret"`
			}{name, secret})
		case len(urls) == 1:
			t.printf("%s\n", secret)
		default:
			t.printf("%s %s\n", name, secret)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// webhooks returns the URLs of --webhook and --webhook-file, or else those in the environment. The environment is not
// the default of a flag, because --help would print it.
func webhooks(ctx context.Context, log *slog.Logger, given []string, file string) ([]string, error) {
	if len(given) == 0 && file == "" {
		return strings.Fields(os.Getenv("FLAVORLESS_WEBHOOKS")), nil
	}
	for i, url := range given {
		if err := webhook.Check(url); err != nil {
			return nil, usage("--webhook: URL %d: %w", i+1, err)
		}
		if webhook.MayHoldSecret(url) {
			name, _ := webhook.Name(url)
			log.WarnContext(ctx, "ps shows the URL of a webhook to all users; use --webhook-file instead",
				"event", "webhook_visible", "webhook", name)
		}
	}
	if file == "" {
		return given, nil
	}
	urls, mode, err := readWebhookFile(file)
	if err != nil {
		return nil, err
	}
	if mode&0o006 != 0 {
		log.WarnContext(ctx, "all users can read or write the file of webhook URLs; remove their permissions with chmod o=",
			"event", "webhook_file_open", "file", file, "mode", mode.Perm().String())
	}
	return append(given, urls...), nil
}

// readWebhookFile returns the URLs in a file, and its mode.
func readWebhookFile(path string) ([]string, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, readError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, readError(err)
	}
	urls, err := readWebhooks(f, path)
	return urls, info.Mode(), err
}

// readWebhooks reads webhook URLs, one per line. It skips empty lines and lines that begin with #. Its errors name the
// line, but not the URL, which may be a secret.
func readWebhooks(r io.Reader, name string) (urls []string, err error) {
	lines := map[string]int{} // line numbers by URL
	scanner := bufio.NewScanner(r)
	n := 0
	for scanner.Scan() {
		n++
		url := strings.TrimSpace(scanner.Text())
		if url == "" || strings.HasPrefix(url, "#") {
			continue
		}
		if err := webhook.Check(url); err != nil {
			return nil, usage("reading %s: line %d: %w", name, n, err)
		}
		if first := lines[url]; first > 0 {
			return nil, usage("reading %s: line %d: the URL is the same as in line %d; remove one", name, n, first)
		}
		lines[url] = n
		urls = append(urls, url)
	}
	if err := scanner.Err(); err != nil {
		return nil, usage("reading %s: line %d: %w", name, n+1, err)
	}
	return urls, nil
}
