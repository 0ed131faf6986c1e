package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoPostfix is the error if Postfix is not installed and cannot be, or cannot run.
var ErrNoPostfix = errors.New("Postfix cannot be used")

// Postfix is a running relay with folders of its own. It is not the machine's mail server.
type Postfix struct {
	process *process
	log     serverLog
	port    int
}

// postfixMaster is Postfix's supervisor, where Debian's package has it.
const postfixMaster = "/usr/lib/postfix/sbin/master"

// StartPostfix starts a relay on the loopback that hands every message to the server at next
// (host:port). It needs root, because Postfix's own supervisor does. The error is ErrNoPostfix
// elsewhere.
func StartPostfix(ctx context.Context, dir, next string) (*Postfix, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it runs for root only", ErrNoPostfix)
	}
	if _, err := exec.LookPath(postfixMaster); err != nil {
		return nil, fmt.Errorf("%w: it is not installed", ErrNoPostfix)
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postfix{port: port, log: serverLog{path: filepath.Join(dir, "postfix.log")}}
	if err := p.configure(ctx, dir, next); err != nil {
		return nil, fmt.Errorf("start Postfix: %w", err)
	}
	answers := func(ctx context.Context) error { return greets(ctx, p.Addr(), "220 ") }
	p.process, err = startIn(ctx, dir, nil, "Postfix", answers, postfixMaster, "-c", filepath.Join(dir, "config"), "-d")
	return p, err
}

// configure writes Postfix's settings and makes its folders. Of the machine's own Postfix only the
// programs are used.
func (p *Postfix) configure(ctx context.Context, dir, next string) error {
	host, port, err := net.SplitHostPort(next)
	if err != nil {
		return err
	}
	config, queue, data := filepath.Join(dir, "config"), filepath.Join(dir, "queue"), filepath.Join(dir, "data")
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %s
data_directory = %s
multi_instance_enable = no
maillog_file = %s
maillog_file_prefixes = %s
myhostname = relay.example.com
mydestination =
local_recipient_maps =
local_transport = error:no local delivery
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [%s]:%s
smtp_bind_address = 127.0.0.1
smtputf8_enable = yes
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
disable_dns_lookups = yes
message_size_limit = 0
`, queue, data, p.log.path, dir, host, port)
	services := fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\n", p.port)
	for _, line := range []string{
		"pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
		"tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
		"flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "proxywrite unix - - n - 1 proxymap",
		"smtp unix - - n - - smtp", "relay unix - - n - - smtp", "error unix - - n - - error",
		"retry unix - - n - - error", "discard unix - - n - - discard", "anvil unix - - n - 1 anvil",
		"scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd",
	} {
		services += line + "\n"
	}
	for _, folder := range []string{dir, config, queue, data} {
		if err := makeOpen(folder); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"main.cf": main, "master.cf": services} {
		path := filepath.Join(config, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chmod(path, 0o644)); err != nil {
			return err
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err == nil {
		err = os.Chown(data, uid, -1)
	}
	if err != nil {
		return err
	}
	// The check makes the folders of the queue with their owners.
	cmd := exec.Command("postfix", "-c", config, "check")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd, 10*time.Second); err != nil {
		return fmt.Errorf("postfix check: %w: %s", err, out.String())
	}
	return nil
}

// Addr returns host:port of the relay.
func (p *Postfix) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// Log returns the end of the relay's log.
func (p *Postfix) Log() string { return p.log.tail() }

// Stop stops the relay and its processes.
func (p *Postfix) Stop(ctx context.Context) {
	if !p.process.running() {
		return
	}
	family := append(children(p.process.pid()), p.process.pid())
	p.process.end(ctx)
	for _, pid := range family {
		if alive(pid) && pid != p.process.pid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// InstallPostfix installs Postfix on Debian and its relatives, if this program runs as root and the
// machine has no mail server. The package does not configure or start one. Otherwise the error has
// the command to type. It does nothing if Postfix is installed.
func InstallPostfix(ctx context.Context, out io.Writer, progress Progress) error {
	if _, err := exec.LookPath(postfixMaster); err == nil {
		return nil
	}
	if err := canInstallWithApt(fmt.Errorf("%w: it is not installed", ErrNoPostfix), "postfix"); err != nil {
		return err
	}
	if _, err := os.Stat("/usr/sbin/sendmail"); err == nil {
		return fmt.Errorf("%w: its package would replace this machine's mail server", ErrNoPostfix)
	}
	// Without a configuration of its own, the package never runs as the machine's mail server.
	cmd := exec.Command("debconf-set-selections")
	cmd.Stdin = strings.NewReader("postfix postfix/main_mailer_type select No configuration\n")
	cmd.Stdout, cmd.Stderr = out, out
	err := run(ctx, cmd, 10*time.Second)
	if err == nil {
		err = aptInstall(ctx, out, progress, "postfix")
	}
	if err != nil {
		return fmt.Errorf("install Postfix: %w", err)
	}
	return nil
}
