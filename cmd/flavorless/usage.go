package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// explain makes the errors of a command's arguments and flags, and of its subcommands', name what is wrong and the help to read.
func explain(c *cobra.Command) {
	check := c.Args
	_, arguments, _ := strings.Cut(c.Use, " ")
	switch {
	case c.HasSubCommands():
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return nil
		}
		if !c.Runnable() {
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	case check != nil:
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return wrongArguments(c, arguments, args)
			}
			return nil
		}
	}
	if !strings.Contains(arguments, "FILE") && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.SetFlagErrorFunc(wrongFlag)
	for _, sub := range c.Commands() {
		explain(sub)
	}
}

// explainHelp makes the command help refuse commands that do not exist.
func explainHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			continue
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			if found, rest, err := root.Find(args); err == nil && len(rest) > 0 {
				return unknownCommand(found, rest[0])
			}
			return nil
		}
	}
}

// wrongArguments returns the error of too few or too many arguments. Want is how the command's usage names them.
func wrongArguments(c *cobra.Command, want string, args []string) error {
	name, see := shortPath(c), c.CommandPath()+" --help"
	switch {
	case len(args) == 0:
		return usage("%s needs an argument, %s; see: %s", name, want, see)
	case want == "":
		return usage("%s takes no argument, and there is %q; see: %s", name, args[0], see)
	}
	quoted := strings.Trim(fmt.Sprintf("%q", args), "[]")
	return usage("%s takes %s, and there are %d arguments: %s; put an argument that has spaces in quotes; see: %s",
		name, want, len(args), quoted, see)
}

// shortPath returns the names of a command and those above it, without the program's.
func shortPath(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	text := ""
	if names := c.SuggestionsFor(name); len(names) > 0 {
		text = "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return usage("%s has no command %q%s; see: %s --help", shortPath(c), name, text, c.CommandPath())
}

// wrongFlag returns the error of a flag.
func wrongFlag(c *cobra.Command, err error) error {
	if c.HasSubCommands() && c.Flags().NArg() > 0 { // the flag may be one of a command whose name is mistyped
		return unknownCommand(c, c.Flags().Arg(0))
	}
	var (
		unknown *pflag.NotExistError
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
	)
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		text = fmt.Sprintf("%s has no flag %s", shortPath(c), dashed(unknown.GetSpecifiedName()))
		if name := nearestFlag(c, unknown.GetSpecifiedName()); name != "" {
			text += "; did you mean --" + name + "?"
		}
	case errors.As(err, &missing):
		text = fmt.Sprintf("%s needs a value after it", dashed(missing.GetSpecifiedName()))
	case errors.As(err, &value):
		cause := value.Unwrap().Error()
		switch value.GetFlag().Value.Type() {
		case "int":
			cause = "it takes a whole number"
		case "bool":
			cause = "it takes true or false"
		case "duration":
			cause = "it takes a number with a unit, such as 30s, 10m or 1h"
		}
		text = fmt.Sprintf("--%s can't be %q: %s", value.GetFlag().Name, value.GetValue(), cause)
	}
	return usage("%s; see: %s --help", strings.ReplaceAll(text, "\n", " "), c.CommandPath())
}

func dashed(flag string) string {
	if len([]rune(flag)) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// nearestFlag returns the flag of a command whose name differs least from name, and nothing if all differ by more than two
// characters and none begins with it.
func nearestFlag(c *cobra.Command, name string) string {
	best, least := "", min(3, len(name))
	c.Flags().VisitAll(func(f *pflag.Flag) {
		d := distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) {
			d = min(d, 1)
		}
		if !f.Hidden && d < least {
			best, least = f.Name, d
		}
	})
	return best
}

// distance returns how many characters must be inserted, removed or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		previous := slices.Clone(row)
		row[0] = i + 1
		for j := range b {
			replaced := previous[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(row[j]+1, previous[j+1]+1, replaced)
		}
	}
	return row[len(b)]
}
