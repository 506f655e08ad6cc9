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

const webhookHelp = `Print the secret by which the receiver at a URL can tell that what it is sent comes from this server. Each URL has its own.
The server need not run, and the receiver can be set up before it is sent anything.

If the URL is itself a secret, keep it out of the command line, which ps shows to all users: put it into a file for
--webhook-file, or pass it on standard input with - as the argument. With more than one URL, each line of the output is the name
of a webhook, as the server's log and queues have it, and its secret.

Use https. http is only for localhost, loopback addresses and private addresses (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
fc00::/7). Link-local, unspecified and multicast addresses and the metadata services of clouds are refused, and so is a host
name that resolves to one when a change is delivered. A URL can't have a user name, a password, a fragment, spaces or control
characters; other characters that a URL can't have are percent-encoded.

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
	var dir, file string
	var asJSON bool
	c := &cobra.Command{
		Use: "webhook-secret URL|-", Short: "Print the secret that changes to a webhook are signed with", Long: webhookHelp,
		Example: "  flavorless webhook-secret https://example.com/changes\n  flavorless webhook-secret - < webhooks\n" +
			"  flavorless webhook-secret --webhook-file webhooks\n  flavorless serve --webhook-file webhooks",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (file == "") {
				return usage("give either a URL, or - to read it from standard input, or --webhook-file; see: flavorless webhook-secret --help")
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
				return usage("there is no URL of a webhook in the input; write one a line")
			}
			return t.webhookSecrets(dir, urls, asJSON)
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&file, "webhook-file", "", "read the URLs from this file, which serve --webhook-file takes, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each URL, with the webhook's name and its secret")
	return c
}

// webhookSecrets prints the secret of a URL, or the names and secrets of several.
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

// webhooks returns the URLs of the flags --webhook and --webhook-file. Without either it returns those of the environment, which
// can't be the default of a flag because --help would print them.
func webhooks(ctx context.Context, log *slog.Logger, given []string, file string) ([]string, error) {
	if len(given) == 0 && file == "" {
		return strings.Fields(os.Getenv("FLAVORLESS_WEBHOOKS")), nil
	}
	for _, url := range given {
		if webhook.MayHoldSecret(url) {
			name, _ := webhook.Name(url)
			log.WarnContext(ctx, "ps shows the URL of a webhook to all users; give it by --webhook-file", "event", "webhook_visible", "webhook", name)
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
		log.WarnContext(ctx, "all users can read or write the file of webhooks; remove their permissions with chmod o=",
			"event", "webhook_file_open", "file", file, "mode", mode.Perm().String())
	}
	return append(given, urls...), nil
}

// readWebhookFile returns the URLs in a file, and its mode.
func readWebhookFile(path string) ([]string, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, usage("reading the URLs of webhooks: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, usage("reading the URLs of webhooks: %w", err)
	}
	urls, err := readWebhooks(f, path)
	return urls, info.Mode(), err
}

// readWebhooks reads URLs of webhooks, one a line. It skips empty lines and those that begin with #. Its errors name the line
// and leave out the URL, which may be a secret.
func readWebhooks(r io.Reader, name string) (urls []string, err error) {
	lines := map[string]int{} // of the URLs
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
			return nil, usage("reading %s: line %d: the URL is that of line %d; remove one", name, n, first)
		}
		lines[url] = n
		urls = append(urls, url)
	}
	if err := scanner.Err(); err != nil {
		return nil, usage("reading %s: line %d: %w", name, n+1, err)
	}
	return urls, nil
}
