package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Variable describes one environment variable.
type Variable struct {
	Name     string
	Default  string
	Required bool
	File     bool   // NAME_FILE may name a file that holds the value
	Text     string // what it is, with its form
}

// texts says what each variable is, with its form.
var texts = map[string]string{
	"DATABASE_URL": "PostgreSQL database: postgres://user:password@host:5432/database",
	"DM_DROP_POINTS": "drop points: name=url, separated by blanks, for example mx=smtp://mail.example.com; " +
		"every worker of a task queue needs the same names",
	"DM_SOURCES": "source databases for mailings to a query: name=postgres://user:password@host/database, " +
		"separated by blanks; every worker of a task queue needs the same names",
	"DM_DKIM": "keys that sign messages: domain=file?selector=name, separated by blanks, for example " +
		"news.example.com=/run/secrets/dkim.pem?selector=rsa202611; every worker of a task queue needs the same keys",
	"DM_PAGE_HOSTS": "page servers that may be used although they have no public address: host, host:port or network " +
		"such as 10.1.0.0/16, separated by blanks",
	"DM_TOKEN_KEYS": "secret keys that sign unsubscribe links and bounce addresses: 32 characters or more each, " +
		"separated by blanks; the first signs, all are accepted; every worker needs the same keys",
	"DM_PUBLIC_URL": "address at which recipients reach the public listener, for example https://mail.example.com; " +
		"every worker needs the same",
	"DM_PUBLIC_ADDRESS": "address that serves the unsubscribe pages, for example 127.0.0.1:8443 (default: none)",
	"DM_PUBLIC_CERT": "file with the certificate chain of the public listener, in PEM; read again when it changes " +
		"(default: plain HTTP, behind a proxy)",
	"DM_PUBLIC_KEY": "file with the key of that certificate, in PEM",
	"DM_PUBLIC_PROXIES": "proxies of the public listener whose X-Forwarded-For is believed: IP addresses or networks, " +
		"separated by blanks",
	"DM_PUBLIC_LOOK": "YAML file with texts and colours of the unsubscribe pages",
	"DM_BOUNCE_DOMAIN": "domain of bounce addresses, for example bounce.example.com: each recipient has one; " +
		"every worker needs the same; needs DM_TOKEN_KEYS (default: bounces go to the author's address)",
	"DM_INBOUND_ADDRESS": "listener for mail that comes back, for example smtp://:2525 or " +
		"lmtp:///run/direct-mailer/lmtp.sock (default: none)",
	"DM_INBOUND_MAILBOX": "mailbox of mail that came back: imaps://user:password@host/INBOX (default: none)",
	"DM_TASK_QUEUE":      "Temporal task queue of the workers",
	"DM_MAX_BATCHES":     "most batches that a worker sends at the same time, and renders at the same time, 1 to 1000",
	"DM_STOP_TIMEOUT":    "time to finish the messages in flight when the worker is told to stop",
	"DM_HEALTH_ADDRESS":  "address that serves /healthz and /readyz, for example 127.0.0.1:8080 (default: none)",
	"DM_LOG_LEVEL":       "least important log messages: DEBUG, INFO, WARN or ERROR",
	"DM_LOG_FORMAT":      "log format: text or json",
	"DM_WEB_UI": "address of Temporal's Web UI, for example http://127.0.0.1:8233; " +
		"start prints where it shows the mailing",
}

// Variables describes the variables that [Worker] or [Starter] is read from, in the order of its
// fields.
func Variables(of any) []Variable {
	t := reflect.TypeOf(of)
	var all []Variable
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("env"), ",")
		all = append(all, Variable{Name: name, Default: tag.Get("envDefault"), Text: texts[name],
			File: tag.Get("file") != "", Required: strings.Contains(options, "required")})
	}
	return all
}

// temporalVariables are those variables of Temporal's SDK that most installations need.
var temporalVariables = []Variable{
	{Name: "TEMPORAL_ADDRESS", Default: "localhost:7233", Text: "Temporal server: host:port"},
	{Name: "TEMPORAL_NAMESPACE", Default: "default", Text: "Temporal namespace"},
	{Name: "TEMPORAL_API_KEY", Text: "API key of Temporal Cloud"},
	{Name: "TEMPORAL_TLS", Text: "true: connect to Temporal over TLS"},
	{
		Name: "TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH",
		Text: "files of the client certificate and its key",
	},
	{Name: "TEMPORAL_TLS_SERVER_CA_CERT_PATH", Text: "file of the authority that signed the server's certificate"},
	{
		Name: "TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE",
		Text: "profile, and file of profiles, of Temporal's client configuration",
	},
}

// helpWidth is the column at which the text of Describe wraps.
const helpWidth = 100

// Describe explains the variables of [Worker] or [Starter], and those of Temporal, for a help text.
func Describe(of any) string {
	var b strings.Builder
	for _, v := range append(Variables(of), temporalVariables...) {
		text := v.Text
		switch {
		case v.Required:
			text += " (required)"
		case v.Default != "":
			text += " (default " + v.Default + ")"
		}
		fmt.Fprintf(&b, "  %s\n%s", v.Name, wrap(text, "      ", helpWidth))
		if v.File {
			fmt.Fprintf(&b, "%s", wrap(v.Name+fileSuffix+" names a file that holds it instead", "      ", helpWidth))
		}
	}
	return b.String()
}

// wrap breaks a text into lines of at most width columns, each with the indent before it.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
