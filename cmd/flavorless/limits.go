package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/local/retention"
)

// limitFlags bound what can be taken of the machine.
func limitFlags(l *local.Limits) *pflag.FlagSet {
	*l = local.DefaultLimits()
	f := pflag.NewFlagSet("Limits", pflag.ContinueOnError)
	f.Var((*size)(&l.MaxUpload), "max-upload-size", "greatest size of an uploaded file")
	f.IntVar(&l.MaxRequests, "max-uploads", l.MaxRequests, "requests to the bucket at the same time; beyond, clients are told to slow down")
	f.IntVar(&l.MaxConnections, "max-connections", l.MaxConnections, "open connections to the bucket, and as many to the API")
	f.Var((*age)(&l.ClientTimeout), "client-timeout", "how long a client may send nothing, or read nothing")
	f.Var((*size)(&l.MinFree), "min-free", "reserve of the disk, which uploads may not use; 0: none")
	return f
}

// retentionFlags say how long what is done with is kept.
func retentionFlags(r *retention.Policy) *pflag.FlagSet {
	*r = retention.DefaultPolicy()
	f := pflag.NewFlagSet("Keep", pflag.ContinueOnError)
	f.Var((*age)(&r.Uploads), "keep-uploads", "uploaded files, and what became of them; 0: for ever")
	f.Var((*age)(&r.Reports), "keep-reports", "lists of all rejected rows")
	f.Var((*age)(&r.Removed), "keep-removed", "that a person was removed: no older update brings them back")
	f.Var((*age)(&r.Changes), "keep-changes", "announced changes, for subscribers who come later")
	f.Var((*size)(&r.ChangesBytes), "max-changes-size", "and at most so much of them")
	f.Var((*age)(&r.Unfinished), "keep-unfinished", "uploads in parts to which nothing is added any more")
	return f
}

// grouped adds flag sets to a command, and shows each under its name in its help.
func grouped(c *cobra.Command, sets ...*pflag.FlagSet) {
	c.SetUsageFunc(func(c *cobra.Command) error {
		rest := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			for _, set := range sets {
				if set.Lookup(f.Name) != nil {
					return
				}
			}
			rest.AddFlag(f)
		})
		w := c.OutOrStderr()
		fmt.Fprintf(w, "Usage:\n  %s\n\nExamples:\n%s\n\nFlags:\n%s", c.UseLine(), c.Example, rest.FlagUsages())
		for _, set := range sets {
			fmt.Fprintf(w, "\n%s:\n%s", set.Name(), set.FlagUsages())
		}
		return nil
	})
	for _, set := range sets {
		c.Flags().AddFlagSet(set)
	}
}

// size is a flag's value in bytes, such as 512MiB, 5GB or 1000. No bytes are -1, for 0 is whatever the default is.
type size int64

func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("a size is a number of bytes, such as 512MiB or 5GB")
	}
	if *s = size(n); n == 0 {
		*s = -1
	}
	return nil
}

func (s *size) String() string {
	return strings.NewReplacer(" ", "", ".0", "").Replace(humanize.IBytes(uint64(max(*s, 0))))
}

func (*size) Type() string { return "size" }

const day = 24 * time.Hour

// age is a flag's value as a duration, such as 90d, 12h or 1h30m.
type age time.Duration

func (a *age) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*a = age(time.Duration(n) * day)
			return nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("a time is a number of days, hours, minutes or seconds, such as 90d, 12h or 30s")
	}
	*a = age(d)
	return nil
}

func (a *age) String() string {
	switch d := time.Duration(*a); {
	case d == 0:
		return "0"
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	default:
		text := d.String() // 1h0m0s
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
}

func (*age) Type() string { return "time" }
