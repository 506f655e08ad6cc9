package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setUsageErrors makes the usage errors of a command and its subcommands name the wrong argument or flag and the
// command that prints the help.
func setUsageErrors(c *cobra.Command) {
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
		setUsageErrors(sub)
	}
}

// checkHelpTopics makes the command help return an error for commands that do not exist.
func checkHelpTopics(root *cobra.Command) {
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

// wrongArguments returns the error for too few or too many arguments. The command's usage calls its arguments want.
func wrongArguments(c *cobra.Command, want string, args []string) error {
	name, see := shortPath(c), c.CommandPath()+" --help"
	switch {
	case len(args) == 0:
		return usage("%s needs an argument, %s; see: %s", name, want, see)
	case want == "":
		return usage("%s takes no arguments, but you gave %q; see: %s", name, args[0], see)
	}
	quoted := strings.Trim(fmt.Sprintf("%q", args), "[]")
	return usage("%s takes %s, but you gave %d arguments: %s; put an argument with spaces in quotes; see: %s",
		name, want, len(args), quoted, see)
}

// shortPath returns the names of a command and its parents. It omits the program's name, except for the root command.
func shortPath(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("there is no command %q", name)
	if names := c.SuggestionsFor(name); len(names) > 0 {
		text += " (did you mean " + strings.Join(names, " or ") + "?)"
	}
	return usage("%s; see: %s --help", text, c.CommandPath())
}

// wrongFlag returns the error for a flag.
func wrongFlag(c *cobra.Command, err error) error {
	if c.HasSubCommands() && c.Flags().NArg() > 0 { // the flag may belong to the command whose name is mistyped
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
			text += " (did you mean --" + name + "?)"
		}
	case errors.As(err, &missing):
		text = fmt.Sprintf("%s needs a value", dashed(missing.GetSpecifiedName()))
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

// nearestFlag returns the name of the flag that is most similar to name, or "" if every flag differs by more than two
// characters and none begins with name.
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

// distance returns the Levenshtein distance of two strings: the number of bytes to insert, remove or replace.
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
