package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoDovecot is the error if Dovecot's IMAP server is not installed and cannot be.
var ErrNoDovecot = errors.New("Dovecot is not installed")

// Dovecot is a running IMAP server with one mailbox.
type Dovecot struct {
	process *process
	port    int
	inbox   string
	account *account
}

// DovecotUser and DovecotPassword log in to a Dovecot.
const DovecotUser, DovecotPassword = "bounces", "dovecot-secret"

// InstallDovecot installs Dovecot's IMAP server as InstallPgBouncer installs PgBouncer.
func InstallDovecot(ctx context.Context, out io.Writer, progress Progress) error {
	if _, err := findDovecot(); err == nil {
		return nil
	}
	if err := installWithApt(ctx, out, progress, ErrNoDovecot, "dovecot-imapd"); err != nil {
		return fmt.Errorf("install Dovecot: %w", err)
	}
	_, err := findDovecot()
	return err
}

func findDovecot() (string, error) {
	for _, name := range []string{"dovecot", "/usr/sbin/dovecot"} {
		if path, err := exec.LookPath(name); err == nil {
			if _, err := os.Stat("/usr/lib/dovecot/imap"); err == nil {
				return path, nil
			}
		}
	}
	return "", ErrNoDovecot
}

// StartDovecot starts an IMAP server with its files in dir, without TLS. The error is ErrNoDovecot
// if it is not installed.
func StartDovecot(ctx context.Context, dir string) (*Dovecot, error) {
	program, err := findDovecot()
	if err != nil {
		return nil, err
	}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	d := &Dovecot{port: port, inbox: filepath.Join(dir, "mail"), account: account}
	for _, folder := range []string{dir, d.inbox, d.folder("cur"), d.folder("new"), d.folder("tmp")} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), account.own(folder)); err != nil {
			return nil, fmt.Errorf("start Dovecot: %w", err)
		}
	}
	settings := filepath.Join(dir, "dovecot.conf")
	text, err := dovecotSettings(dir, account, port)
	if err == nil {
		err = errors.Join(os.WriteFile(settings, []byte(text), 0o600), account.own(settings))
	}
	if err != nil {
		return nil, fmt.Errorf("start Dovecot: %w", err)
	}
	answers := func(ctx context.Context) error { return greets(ctx, d.Address(), "* OK") }
	d.process, err = startIn(ctx, dir, account, "Dovecot", answers, program, "-F", "-c", settings)
	return d, err
}

// dovecotSettings are those of a server that needs no root: every part of it runs as one user.
func dovecotSettings(dir string, a *account, port int) (string, error) {
	u, err := user.Current()
	if err == nil && a != nil {
		u, err = user.LookupId(strconv.Itoa(int(a.uid)))
	}
	if err != nil {
		return "", err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", err
	}
	unlimited := "service %s {\n  chroot =\n}\n"
	return strings.NewReplacer("DIR", dir, "USER", u.Username, "GROUP", g.Name).Replace(
		"base_dir = DIR/run\nstate_dir = DIR/state\nlog_path = /dev/stderr\nprotocols = imap\nlisten = 127.0.0.1\n"+
			"ssl = no\ndisable_plaintext_auth = no\nfirst_valid_uid = 1\nmail_location = maildir:DIR/mail\n"+
			"default_internal_user = USER\ndefault_internal_group = GROUP\ndefault_login_user = USER\n"+
			"userdb {\n  driver = static\n  args = uid=USER gid=GROUP home=DIR/home\n}\n") +
		fmt.Sprintf("passdb {\n  driver = static\n  args = user=%s password=%s\n}\n", DovecotUser, DovecotPassword) +
		fmt.Sprintf("service imap-login {\n  chroot =\n  inet_listener imap {\n    port = %d\n  }\n"+
			"  inet_listener imaps {\n    port = 0\n  }\n}\n", port) +
		fmt.Sprintf(unlimited, "anvil") + fmt.Sprintf(unlimited, "stats"), nil
}

// Address returns host:port of the server.
func (d *Dovecot) Address() string { return "127.0.0.1:" + strconv.Itoa(d.port) }

// URL returns the URL of the mailbox.
func (d *Dovecot) URL() string {
	return fmt.Sprintf("imap://%s:%s@%s/INBOX?tls=none", DovecotUser, DovecotPassword, d.Address())
}

func (d *Dovecot) folder(name string) string { return filepath.Join(d.inbox, name) }

// Deliver puts a message into the mailbox, under a name that no other message has.
func (d *Dovecot) Deliver(name string, message []byte) error {
	temporary, final := filepath.Join(d.folder("tmp"), name), filepath.Join(d.folder("new"), name)
	return errors.Join(os.WriteFile(temporary, message, 0o600), d.account.own(temporary), os.Rename(temporary, final))
}

// Stop stops the server and breaks its connections.
func (d *Dovecot) Stop(ctx context.Context) { d.process.end(ctx) }
