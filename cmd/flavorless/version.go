package main

import (
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/version"
)

func newVersion(t *terminal) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version, the commit and the Go toolchain of this build",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return t.json(version.Get())
			}
			t.printf("flavorless %s\n", version.String())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}
