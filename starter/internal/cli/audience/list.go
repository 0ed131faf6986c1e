package audience

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

func (a *app) listCommand() *cobra.Command {
	cmd := command.Group(&cobra.Command{
		Use:     "list",
		Aliases: []string{"lists"},
		Short:   "Manage stored lists of recipients",
		Long: `Manages stored lists of recipients. ` + "`starter mailing ls`" + ` lists mailings.

A mailing copies its list when it begins. A later change of the list does not change the
mailing.`,
		Example: "  starter list import customers customers.csv\n  starter list ls",
	})
	cmd.AddCommand(a.listImport(), a.listLs(), a.listShow(), a.listDelete())
	return cmd
}

func (a *app) listImport() *cobra.Command {
	var replace bool
	var decision, encoding string
	cmd := &cobra.Command{
		Use:   "import NAME FILE.csv",
		Short: "Import a list from a CSV file",
		Long: `Imports the rows of a CSV file as a list. Commas, semicolons, tabs or bars separate the fields.
The first row names the columns. One column is the e-mail address, the others are fields for
templates. The command prints which column became which field, and everything else that it
decided.

A column can say who may be mailed, for example with the value "unsubscribed". Then the command
stops and asks for --status: "use" imports only the active, "ignore" imports everybody.

The command leaves out rows that cannot be used, and reports them by line. The exit code is then
3. The import is one transaction: any other problem leaves the old list unchanged. Rows that
repeat an address are kept, and the address gets one message.`,
		Example: `  starter list import customers customers.csv

  # only the people whose status is active
  starter list import customers export.csv --status use

  # replace the list, and answer for a program
  starter list import customers customers.csv --replace --output json`,
		Args: command.Needs("the list's name", "the file"),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.Flags().BoolVar(&replace, "replace", false, "replace an existing list of that name")
	cmd.Flags().StringVar(&decision, "status", "", `what to do about a column that says who may be mailed:
"use" imports only the active, "ignore" imports everybody`)
	cmd.Flags().StringVar(&encoding, "encoding", "",
		"encoding of the file, for example windows-1250 (default: recognized)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkListName(args[0]); err != nil {
			return err
		}
		o := csvlist.Options{Encoding: encoding}
		if cmd.Flags().Changed("status") {
			var err error
			if o.Status, err = csvlist.ParseStatus(decision); err != nil {
				return exit.Usagef("--status %w", err)
			}
		}
		f, err := listfile.Open(cmd.Context(), a.App, args[1], o) // before the database is asked
		if err == nil {
			err = listfile.Failure(f.Undecided())
		}
		if err != nil {
			return err
		}
		defer f.Close()
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		done, err := listfile.Import(cmd.Context(), a.App, s, args[0], f, replace, format.JSON())
		if err != nil {
			return err
		}
		if format.JSON() {
			err = output.WriteJSON(a.Out, done)
		} else {
			listfile.Mapping.Render(a.Out, done.Mapping)
			for _, line := range done.Lines(output.Base(args[1])) {
				fmt.Fprintln(a.Out, line)
			}
			fmt.Fprintf(a.Out, "list %s: %s\n", done.Name, done.Describe())
		}
		if err == nil && done.Rejected > 0 {
			return exit.Errorf(
				exit.RowsRejected,
				"%s: %s rejected",
				output.Base(args[1]),
				output.Count(done.Rejected, "row"),
			)
		}
		return err
	}
	return cmd
}

func checkListName(name string) error {
	if !workflows.ValidName(name) {
		return exit.Usagef(
			"%q is not a valid list name: it must be up to 63 lower-case letters and digits, with single - or _ between them",
			output.Typed(name),
		)
	}
	return nil
}

// needsList checks that the only argument is a list's name.
func needsList(cmd *cobra.Command, args []string) error {
	if err := command.Needs("the list's name")(cmd, args); err != nil {
		return err
	}
	return checkListName(args[0])
}

// storedLists describes the answer of `starter list ls`.
var storedLists = output.Table[lists.List]{
	{Title: "list", Wrap: 16, Cell: func(l lists.List) string { return l.Name }},
	{Title: "members", Right: true, Cell: func(l lists.List) string { return output.Thousands(l.Members) }},
	{Title: "duplicates", Right: true, Cell: func(l lists.List) string { return output.Thousands(l.Duplicates) }},
	{Title: "rejected", Right: true, Cell: func(l lists.List) string { return output.Thousands(l.Rejected) }},
	{
		Title: "columns",
		Wrap:  16,
		Cell:  func(l lists.List) string { return output.Clean(strings.Join(l.Columns, ", ")) },
	},
	{Title: "file", Wrap: 12, Cell: func(l lists.List) string { return output.Clean(l.Source) }},
	{Title: "imported", Cell: func(l lists.List) string { return output.Minute(l.CreatedAt) }},
}

func (a *app) listLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the stored lists",
		Example: "  starter list ls\n  starter list ls --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		all, err := s.Lists.All(cmd.Context())
		if err != nil {
			return err
		}
		return storedLists.Write(a.Out, format, all)
	}
	return cmd
}

// listHead is how many members `list show` shows.
const listHead = 10

// shownList is a list with its first members.
type shownList struct {
	lists.List
	First []lists.Entry `json:"first"`
}

// oneList describes the answer of `starter list show`.
var oneList = output.Record[shownList]{
	Fields: func(l shownList) []output.Field {
		return []output.Field{
			{Name: "list", Text: l.Name},
			{Name: "members", Text: output.Thousands(l.Members)},
			{Name: "duplicates", Text: output.Thousands(l.Duplicates)},
			{Name: "rejected rows", Text: output.Thousands(l.Rejected)},
			{Name: "file", Text: l.Source},
			{Name: "imported", Text: output.Moment(l.CreatedAt)},
		}
	},
	Rest: renderMembers,
}

// renderMembers writes the first members, with the columns that the list has.
func renderMembers(w io.Writer, l shownList) {
	members := output.Table[lists.Entry]{
		{Title: "line", Right: true, Cell: func(e lists.Entry) string { return fmt.Sprint(e.Position) }},
		{Title: "address", Wrap: 16, Cell: func(e lists.Entry) string { return output.Clean(e.Address) }},
	}
	for _, c := range l.Columns {
		members = append(members, output.Column[lists.Entry]{Title: output.Clean(c), Wrap: 8,
			Cell: func(e lists.Entry) string { return output.Clean(e.Attributes[c].Text) }})
	}
	members.Render(w, l.First)
	if more := l.Members - int64(len(l.First)); more > 0 {
		fmt.Fprintf(w, "… and %s more\n", output.Thousands(more))
	}
}

func (a *app) listShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a list and its first members",
		Example: "  starter list show customers",
		Args:    needsList,
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.ValidArgsFunction = command.CompleteList
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		l, err := s.Lists.Get(cmd.Context(), args[0])
		if err != nil {
			return noList(err, args[0])
		}
		head, err := s.Lists.First(cmd.Context(), args[0], "", listHead)
		if err != nil {
			return err
		}
		return oneList.Write(a.Out, format, shownList{l, head})
	}
	return cmd
}

func (a *app) listDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME",
		Aliases: []string{"rm"},
		Short:   "Delete a list",
		Long: `Deletes a list. Mailings that have begun keep their recipients. Opt-outs stay.

The command asks before it deletes the list. Where there is no terminal, --yes answers.`,
		Example: "  starter list delete customers\n  starter list delete customers --yes",
		Args:    needsList,
	}
	command.AddYes(cmd, &yes)
	cmd.ValidArgsFunction = command.CompleteList
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		l, err := s.Lists.Get(cmd.Context(), args[0])
		if err != nil {
			return noList(err, args[0])
		}
		if err := a.Confirm(yes, "Delete the list %s with %s?", l.Name, output.Count(l.Members, "member")); err != nil {
			return err
		}
		if err := s.Lists.Delete(cmd.Context(), l.Name); err != nil {
			return noList(err, l.Name)
		}
		fmt.Fprintf(a.Out, "list %s is deleted\n", l.Name)
		return nil
	}
	return cmd
}

func noList(err error, name string) error {
	if command.CodeOf(err) == exit.NotFound {
		return exit.Errorf(exit.NotFound, "no list is named %s: see `starter list ls`", output.Typed(name))
	}
	return err
}
