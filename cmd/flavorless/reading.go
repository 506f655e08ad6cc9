package main

import (
	"errors"
	"mime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/ingest"
)

// readingFlags say how a file is to be read. An upload carries them as metadata of its object.
type readingFlags struct {
	charset                string
	person, flavor, action string
	abort                  bool
}

func (f *readingFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.charset, "charset", "", "encoding of the files, if it is not UTF-8 and there is no byte order mark: "+strings.Join(ingest.Charsets(), ", "))
	_ = c.RegisterFlagCompletionFunc("charset", cobra.FixedCompletions(ingest.Charsets(), cobra.ShellCompDirectiveNoFileComp)) // it was just added
	flags.StringVar(&f.person, "person-column", "", "column or JSON member that holds the person (default person)")
	flags.StringVar(&f.flavor, "flavor-column", "", "column or JSON member that holds the flavor (default flavor)")
	flags.StringVar(&f.action, "action-column", "", "column or JSON member that holds the action: set, remove or nothing (default action)")
}

// metadata returns the object metadata that say the same. The error is one of usage.
func (f *readingFlags) metadata() (map[string]string, error) {
	m := map[string]string{}
	if f.abort {
		m[ingest.MetadataOnError] = "abort"
	}
	for name, value := range map[string]string{
		ingest.MetadataCharset: f.charset, ingest.MetadataPersonColumn: f.person, ingest.MetadataFlavorColumn: f.flavor, ingest.MetadataActionColumn: f.action,
	} {
		if value != "" {
			m[name] = mime.BEncoding.Encode("utf-8", value) // metadata are ASCII
		}
	}
	var bad *ingest.FileError
	if _, err := ingest.ParseOptions(m); errors.As(err, &bad) {
		return nil, usage("%s", bad.Failure.Reason)
	}
	return m, nil
}

// options returns how the files are read here.
func (f *readingFlags) options() (ingest.Options, error) {
	m, err := f.metadata()
	if err != nil {
		return ingest.Options{}, err
	}
	return ingest.ParseOptions(m)
}
