package main

import (
	"cmp"
	"errors"
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

// limitFlags limit how much of the machine clients can use. The defaults are the values in l.
func limitFlags(l *local.Limits) *pflag.FlagSet {
	f := pflag.NewFlagSet("Limits", pflag.ContinueOnError)
	f.Var((*size)(&l.MaxUpload), "max-upload-size", "reject files that are larger than this")
	f.IntVar(&l.MaxRequests, "max-uploads", l.MaxRequests,
		"tell clients to slow down while this many requests to the bucket are in progress")
	f.IntVar(&l.MaxConnections, "max-connections", l.MaxConnections,
		"accept at most this many connections to the bucket, and as many to the API")
	f.Var((*age)(&l.ClientTimeout), "client-timeout", "disconnect clients that send or read nothing for this long")
	f.Var((*size)(&l.MinFree), "min-free", "accept no uploads while less disk space than this is free; 0: no reserve")
	return f
}

// retentionFlags set how long data is kept after it was used. The defaults are the values in r.
func retentionFlags(r *retention.Policy) *pflag.FlagSet {
	f := pflag.NewFlagSet("Retention", pflag.ContinueOnError)
	f.Var((*age)(&r.Uploads), "keep-uploads", "keep uploaded files and their records for this long; 0: forever")
	f.Var((*age)(&r.Reports), "keep-reports", "keep reports of rejected rows for this long")
	f.Var((*age)(&r.Removed), "keep-removed",
		"remember for this long that a person was removed, so that no older update restores them")
	f.Var((*age)(&r.Changes), "keep-changes", "keep announced changes for this long, for subscribers that connect later")
	f.Var((*size)(&r.ChangesBytes), "max-changes-size", "delete the oldest announced changes beyond this size")
	f.Var((*age)(&r.Unfinished), "keep-unfinished", "keep multipart uploads that receive no more parts for this long")
	return f
}

// refuseZeros replaces the zeros that the user gave by -1, which local.Start refuses, because a zero in a configuration
// stands for the default. It leaves the flags in which 0 has a meaning.
func refuseZeros(cfg *local.Config) {
	l, r := &cfg.Limits, &cfg.Retention
	for _, n := range []*int{&cfg.WebhookTries, &l.MaxRequests, &l.MaxConnections} {
		*n = cmp.Or(*n, -1)
	}
	for _, d := range []*time.Duration{
		&cfg.ReadFor, &l.ClientTimeout, &r.Reports, &r.Removed, &r.Changes, &r.Unfinished,
	} {
		*d = cmp.Or(*d, -1)
	}
}

// grouped adds flag sets to a command. Its help shows each set under the set's name.
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

// size is the value of a flag in bytes, such as 512MiB, 5GB or 1000. The flag value 0 is stored as -1, because 0 in a
// configuration stands for the default.
type size int64

func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return errors.New("it takes a number of bytes, such as 512MiB or 5GB")
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

// age is the value of a flag as a duration, such as 90d, 12h or 1h30m.
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
		return errors.New("it takes a number of days, hours, minutes or seconds, such as 90d, 12h or 30s")
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
