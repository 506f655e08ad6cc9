package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/version"
)

const rootHelp = `Put a CSV or JSON file of people's favorite ice-cream flavors into a bucket. Seconds later,
an authorized HTTP API serves the new favorites, subscribers get the changes, and you can
see what happened to every row.

First steps:
  flavorless demo                   see everything at work in a temporary folder
  flavorless serve                  run a server on this machine; its data is in ./data
  flavorless upload favorites.csv   upload a file, and follow it until it is live
  flavorless team                   show everyone's favorite
  flavorless watch                  show changes as they are announced
  flavorless redrive                show messages that failed, or process them again

With a stack on AWS (uses your AWS credentials; reading needs a token of its identity provider):
  flavorless upload --stack flavorless-dev favorites.csv
  FLAVORLESS_TOKEN=… flavorless team --stack flavorless-dev
  flavorless watch --stack flavorless-dev

With other tools:
  eval "$(flavorless env)"
  aws s3 cp favorites.csv "s3://$FLAVORLESS_BUCKET/uploads/"
  curl -H "Authorization: Bearer $FLAVORLESS_TOKEN" "$FLAVORLESS_URL/team"

Shell completion for this session: source <(flavorless completion bash)
For zsh, fish and PowerShell, and to install it: flavorless completion --help

Exit codes: 0 done, 1 failed, 2 usage or environment error, 3 live with rejected rows.

Version: `

func newRoot(t *terminal, started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:              "flavorless",
		Short:            "An event-driven ingestion pipeline for favorite ice-cream flavors",
		Long:             rootHelp + version.String(),
		Version:          version.String(),
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { *started = true },
	}
	root.SetVersionTemplate("flavorless {{.Version}}\n")
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.AddCommand(
		newDemo(t), newServe(t), newEnv(t), newUpload(t), newCheck(t), newTeam(t), newLookup(t), newUploads(t),
		newWatch(t), newRedrive(t), newToken(t), newWebhookSecret(t), newVersion(t),
	)
	root.InitDefaultCompletionCmd()
	setUsageErrors(root)
	checkHelpTopics(root)
	return root
}

const defaultDir = "./data"

// dirFlag adds the flag --data to a command of a server's data folder.
func dirFlag(c *cobra.Command, dir *string) {
	*dir = defaultDir
	c.Flags().Var((*dataPath)(dir), "data", "data folder of the server")
}

// dataPath is the value of --data.
type dataPath string

func (d *dataPath) Set(path string) error {
	if path == "" {
		return errors.New("the path of the data folder is empty")
	}
	*d = dataPath(path)
	return nil
}

func (d *dataPath) String() string { return string(*d) }
func (*dataPath) Type() string     { return "string" }

// dataDir is the value of --data of commands that can also find a server by the environment. A folder that is given
// wins.
type dataDir struct {
	path  string
	given bool
}

func (d *dataDir) Set(path string) error {
	d.given = true
	return (*dataPath)(&d.path).Set(path)
}

func (d *dataDir) String() string { return d.path }
func (*dataDir) Type() string     { return "string" }
