package cli

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"directmailer/internal/audience/lists"
	"directmailer/workflows"
)

func (a *app) listCommand() *cobra.Command {
	cmd := family(&cobra.Command{
		Use:   "list",
		Short: "Stored lists of members",
		Long:  "Keeps named lists. A mailing goes to a copy of its list that is made when it begins: what happens to the list later does not change it.",
	})
	cmd.AddCommand(a.listImport(), a.listLs(), a.listShow(), a.listDelete())
	return cmd
}

func (a *app) listImport() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "import NAME FILE.csv",
		Short: "Store a list from a CSV file",
		Long: `Stores the rows of a CSV file (separated by commas, semicolons or tabs, in UTF-8) as a list. The first row names the
columns, one of which is the e-mail address; the others are fields for templates.

Rows that cannot be used are left out and reported by line, with exit code 3; the import is one transaction, so other
faults leave what was there before. Rows that repeat an address are kept, and get one message.`,
		Example: "  starter list import customers customers.csv\n  starter list import customers customers.csv --replace --output json",
		Args:    wants("the list's name", "the file"),
	}
	output := outputFlag(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "replace the list of that name, if there is one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkListName(args[0]); err != nil {
			return err
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		done, err := a.importList(cmd.Context(), s, args[0], args[1], replace, output.json())
		if err != nil {
			return err
		}
		if output.json() {
			err = writeJSON(a.Out, done)
		} else {
			fmt.Fprintf(a.Out, "list %s: %s\n", done.Name, done.describe())
		}
		if err == nil && done.Rejected > 0 {
			return failf(RowsRejected, "%s: %s rejected", base(args[1]), count(done.Rejected, "row"))
		}
		return err
	}
	return cmd
}

func checkListName(name string) error {
	if !workflows.ValidName(name) {
		return usage("%q cannot name a list: up to 63 lower-case letters and digits, with single - or _ between them", printable(name))
	}
	return nil
}

func (a *app) listLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the lists",
		Example: "  starter list ls\n  starter list ls --output json",
		Args:    wants(),
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		all, err := s.lists.All(cmd.Context())
		if err != nil {
			return err
		}
		if output.json() {
			return writeJSON(a.Out, append([]lists.List{}, all...)) // [] and not null
		}
		t := newTable(a.Out, table.Row{"list", "members", "duplicates", "rejected", "columns", "source", "imported"}, "members", "duplicates", "rejected")
		for _, l := range all {
			t.AppendRow(table.Row{l.Name, thousands(l.Members), thousands(l.Duplicates), thousands(l.Rejected), clean(strings.Join(l.Columns, ", ")), clean(l.Source), moment(l.CreatedAt)})
		}
		t.Render()
		return nil
	}
	return cmd
}

// listHead is how many members `list show` shows.
const listHead = 10

type shownList struct {
	lists.List
	First []lists.Entry `json:"first"`
}

func (a *app) listShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a list and its first members",
		Example: "  starter list show customers",
		Args:    wants("the list's name"),
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		l, err := s.lists.Get(cmd.Context(), args[0])
		if err != nil {
			return noList(err, args[0])
		}
		head, err := s.lists.First(cmd.Context(), args[0], "", listHead)
		if err != nil {
			return err
		}
		if output.json() {
			return writeJSON(a.Out, shownList{l, head})
		}
		a.showList(l, head)
		return nil
	}
	return cmd
}

func (a *app) showList(l lists.List, head []lists.Entry) {
	t := newTable(a.Out, nil)
	for _, row := range []table.Row{
		{"list", l.Name}, {"members", thousands(l.Members)}, {"duplicates", thousands(l.Duplicates)}, {"rejected rows", thousands(l.Rejected)},
		{"source", clean(l.Source)}, {"imported", moment(l.CreatedAt)},
	} {
		t.AppendRow(row)
	}
	t.Render()
	header := table.Row{"line", "address"}
	for _, c := range l.Columns {
		header = append(header, clean(c))
	}
	m := newTable(a.Out, header, "line")
	for _, e := range head {
		row := table.Row{e.Position, clean(e.Address)}
		for _, c := range l.Columns {
			row = append(row, clean(e.Attributes[c]))
		}
		m.AppendRow(row)
	}
	m.Render()
	if more := l.Members - int64(len(head)); more > 0 {
		fmt.Fprintf(a.Out, "… and %s more\n", thousands(more))
	}
}

func (a *app) listDelete() *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME",
		Short:   "Delete a list; mailings that have begun keep their recipients",
		Example: "  starter list delete customers",
		Args:    wants("the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			if err := s.lists.Delete(cmd.Context(), args[0]); err != nil {
				return noList(err, args[0])
			}
			fmt.Fprintf(a.Out, "list %s is deleted\n", args[0])
			return nil
		},
	}
}

func noList(err error, name string) error {
	if codeOf(err) == NotFound {
		return failf(NotFound, "no list is named %s", printable(name))
	}
	return err
}
