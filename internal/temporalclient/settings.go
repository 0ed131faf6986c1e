package temporalclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

// SettingsError says that the settings for Temporal cannot be used.
type SettingsError struct{ err error }

func (e *SettingsError) Unwrap() error { return e.err }
func (e *SettingsError) Error() string {
	return "read the settings for Temporal: " + e.err.Error()
}

// loadOptions reads TEMPORAL_* and the profile. Its errors name variables and quote no value: any
// of them may be a key, or contain one by mistake.
func loadOptions() (client.Options, error) {
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if inHeader(name) && strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return client.Options{}, fmt.Errorf("%s has a line break or another character that it must not have", name)
		}
		if isSwitch(name) && !truth.MatchString(value) { // envconfig would leave it out
			return client.Options{}, fmt.Errorf("%s must be true or false", name)
		}
	}
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return options, settingsFault(err)
	}
	if options.HostPort == "" {
		options.HostPort = client.DefaultHostPort
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	if !plainAddress.MatchString(options.HostPort) {
		return options, errors.New("TEMPORAL_ADDRESS (in a profile: address) must be host:port, " +
			"without http:// and without user and password")
	}
	return options, nil
}

// inHeader reports whether the value of a variable goes into a header of each call.
func inHeader(name string) bool {
	return name == "TEMPORAL_API_KEY" || strings.HasPrefix(name, "TEMPORAL_GRPC_META_")
}

// isSwitch reports whether the value of a variable is true or false.
func isSwitch(name string) bool {
	return name == "TEMPORAL_TLS" || name == "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"
}

var (
	truth        = regexp.MustCompile(`^(?i:true|false|1|0|)$`)
	plainAddress = regexp.MustCompile(`^(dns:///|passthrough:///)?[\pL\pN._-]*(:[0-9]+)?$|` +
		`^(dns:///|passthrough:///)?\[[0-9A-Fa-f:.%]+\](:[0-9]+)?$`)
	tomlLine = regexp.MustCompile(`line ([0-9]+)`)
)

// settingsFaults are the errors of envconfig by a part of their text.
var settingsFaults = []struct{ part, text string }{
	{"failed reading file", "TEMPORAL_CONFIG_FILE names a file that cannot be read"},
	{"unable to find profile", "TEMPORAL_PROFILE names a profile that the file of profiles does not have: " +
		"check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE"},
	{"profile not found", "TEMPORAL_PROFILE names a profile that the file of profiles does not have: " +
		"check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE"},
	{"failed loading client cert/key path", "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH must name " +
		"the PEM files of a certificate and its key"},
	{"failed loading client cert/key data", "TEMPORAL_TLS_CLIENT_CERT_DATA and TEMPORAL_TLS_CLIENT_KEY_DATA must be " +
		"a certificate and its key in PEM format"},
	{"cert or key data is present", "set both TEMPORAL_TLS_CLIENT_CERT_DATA and TEMPORAL_TLS_CLIENT_KEY_DATA, or neither"},
	{"cert or key path is present", "set both TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH, or neither"},
	{"cannot have client key/cert path with data", "set TEMPORAL_TLS_CLIENT_CERT_PATH and _KEY_PATH, " +
		"or TEMPORAL_TLS_CLIENT_CERT_DATA and _KEY_DATA, not both"},
	{"cannot have server CA cert path with data", "set TEMPORAL_TLS_SERVER_CA_CERT_PATH or " +
		"TEMPORAL_TLS_SERVER_CA_CERT_DATA, not both"},
	{"failed reading server CA cert path", "TEMPORAL_TLS_SERVER_CA_CERT_PATH names a file that cannot be read"},
	{"failed adding server CA", "TEMPORAL_TLS_SERVER_CA_CERT_PATH or _DATA has no certificate in PEM format"},
}

// settingsFault words an error of envconfig without the values that it quotes.
func settingsFault(err error) error {
	text := err.Error()
	if strings.Contains(text, "failed parsing config") {
		line := ""
		if m := tomlLine.FindStringSubmatch(text); m != nil {
			line = ", line " + m[1] + ","
		}
		return fmt.Errorf("the file of profiles (TEMPORAL_CONFIG_FILE)%s is not valid TOML, or not one of profiles", line)
	}
	for _, fault := range settingsFaults {
		if !strings.Contains(text, fault.part) {
			continue
		}
		var path *fs.PathError
		if errors.As(err, &path) {
			return fmt.Errorf("%s: %w", fault.text, path.Err)
		}
		return errors.New(fault.text)
	}
	return errors.New("they cannot be used: check the variables TEMPORAL_*")
}
