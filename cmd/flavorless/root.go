package main

import (
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/version"
)

const rootHelp = `Drop a CSV or JSON file of people's favorite ice-cream flavors into a bucket. Seconds later an authorized HTTP API
serves the new favorites, subscribers have been told what changed, and you can see what became of every row.

First steps:
  flavorless demo                          see all of it, in a temporary folder
  flavorless serve                         run it here, with ./data as its data folder
  flavorless upload favorites.csv          upload, and follow the file until it is live
  flavorless team                          read everyone's favorite
  flavorless watch                         see changes as they are announced
  flavorless redrive                       see what could not be processed, and put it back

Deployed on AWS, with your AWS credentials, and a token of the stack's identity provider to read from the API:
  flavorless upload --stack flavorless-dev favorites.csv
  FLAVORLESS_TOKEN=… flavorless team --stack flavorless-dev
  flavorless watch --stack flavorless-dev

With other tools:
  eval "$(flavorless env)"
  aws s3 cp favorites.csv "s3://$FLAVORLESS_BUCKET/uploads/"
  curl -H "Authorization: Bearer $FLAVORLESS_TOKEN" "$FLAVORLESS_URL/team"

Shell completions: source <(flavorless completion bash), also for zsh, fish and powershell; to install them for all sessions see
flavorless completion SHELL --help

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
	explain(root)
	explainHelp(root)
	return root
}

// dataFlag is on every command that needs to know the data folder.
func dataFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data", defaultData, "data folder of the server")
}

const defaultData = "./data"
