package main

import (
	"errors"
	"mime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/ingest"
)

// readingFlags say how to read a file. An upload has them as metadata of its object.
type readingFlags struct {
	charset                string
	person, flavor, action string
	abort                  bool
}

func (f *readingFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.charset, "charset", "", "encoding of files that are not UTF-8 and have no byte order mark: "+
		strings.Join(ingest.Charsets(), ", "))
	complete := cobra.FixedCompletions(ingest.Charsets(), cobra.ShellCompDirectiveNoFileComp)
	_ = c.RegisterFlagCompletionFunc("charset", complete) // fails only for a flag that does not exist
	flags.StringVar(&f.person, "person-column", "", "column or JSON member that holds the person (default person)")
	flags.StringVar(&f.flavor, "flavor-column", "", "column or JSON member that holds the flavor (default flavor)")
	flags.StringVar(&f.action, "action-column", "",
		"column or JSON member that holds the action, which is set, remove or empty (default action)")
}

// metadata returns the object metadata for the flags. Its errors are usage errors.
func (f *readingFlags) metadata() (map[string]string, error) {
	m := map[string]string{}
	if f.abort {
		m[ingest.MetadataOnError] = "abort"
	}
	var given []string
	for _, flag := range []struct{ name, value string }{ // the metadata are named like the flags
		{ingest.MetadataCharset, f.charset}, {ingest.MetadataPersonColumn, f.person},
		{ingest.MetadataFlavorColumn, f.flavor}, {ingest.MetadataActionColumn, f.action},
	} {
		if flag.value != "" {
			m[flag.name] = mime.BEncoding.Encode("utf-8", flag.value) // object metadata must be ASCII
			given = append(given, "--"+flag.name)
		}
	}
	var bad *ingest.FileError
	if _, err := ingest.ParseOptions(m); errors.As(err, &bad) {
		return nil, usage("%s: %s", strings.Join(given, ", "), bad.Failure.Reason)
	}
	return m, nil
}

// options returns the reading options for the flags. Its errors are usage errors.
func (f *readingFlags) options() (ingest.Options, error) {
	m, err := f.metadata()
	if err != nil {
		return ingest.Options{}, err
	}
	return ingest.ParseOptions(m)
}
