// How an SSH connection comes about: credentials, host key, retries, jump host. Every attempt has a deadline.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// The official plugin's waits between attempts: 100 ms, each half as long again.
const (
	firstWait  = 100 * time.Millisecond
	waitFactor = 1.5
)

// handshakeLimit bounds a handshake for which the connection sets no limit of its own (perDialTimeout 0): sshd gives a
// client two minutes to log in (LoginGraceTime, sshd_config(5)), so nothing that works takes longer.
const handshakeLimit = 120 * time.Second

// endpoint is one SSH server and how to log in there.
type endpoint struct {
	address    string
	config     *ssh.ClientConfig
	errorLimit int           // retries after the first attempt; negative: without end
	timeout    time.Duration // of one attempt; 0: only the handshake is bounded
	wrongKey   *error        // set by the host key check
	agent      net.Conn      // if one is used
}

func newEndpoint(props object) (*endpoint, error) {
	host, _ := text(props, "host")
	user, set := text(props, "user")
	if !set {
		user = "root"
	}
	e := &endpoint{
		address:    net.JoinHostPort(host, strconv.Itoa(int(number(props, "port", 22)))),
		errorLimit: int(number(props, "dialErrorLimit", 10)),
		timeout:    time.Duration(number(props, "perDialTimeout", 15)) * time.Second,
		config:     &ssh.ClientConfig{User: user},
		wrongKey:   new(error),
	}
	if err := e.pinHostKey(props); err != nil {
		return nil, err
	}
	return e, e.addCredentials(props)
}

func (e *endpoint) close() {
	if e.agent != nil {
		e.agent.Close()
	}
}

func (e *endpoint) pinHostKey(props object) error {
	line, set := text(props, "hostKey")
	if !set {
		e.config.HostKeyCallback = ssh.InsecureIgnoreHostKey()
		return nil
	}
	expected, err := parseHostKey(line)
	if err != nil {
		return fmt.Errorf("failed to parse host key: %w", err)
	}
	e.config.HostKeyCallback = func(_ string, _ net.Addr, presented ssh.PublicKey) error {
		if subtle.ConstantTimeCompare(presented.Marshal(), expected.Marshal()) == 1 {
			return nil
		}
		*e.wrongKey = fmt.Errorf("ssh: host key mismatch: %s presented %s %s, expected %s %s",
			e.address, presented.Type(), ssh.FingerprintSHA256(presented),
			expected.Type(), ssh.FingerprintSHA256(expected))
		return *e.wrongKey
	}
	e.config.HostKeyAlgorithms = []string{expected.Type()}
	if expected.Type() == ssh.KeyAlgoRSA {
		// The key type "ssh-rsa" signs with SHA-2 today; its name as an algorithm means SHA-1, which sshd refuses.
		e.config.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return nil
}

// parseHostKey reads a public key line, or one of known_hosts; the host names there are not looked at.
func parseHostKey(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err == nil {
		return key, nil
	}
	if _, _, key, _, _, hostsErr := ssh.ParseKnownHosts([]byte(line)); hostsErr == nil {
		return key, nil
	}
	return nil, err
}

// addCredentials offers, in this order: private key, password, the password as every answer to a dialogue, agent.
func (e *endpoint) addCredentials(props object) error {
	if key, set := text(props, "privateKey"); set {
		var signer ssh.Signer
		var err error
		if passphrase, set := text(props, "privateKeyPassword"); set {
			signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(key), []byte(passphrase))
		} else {
			signer, err = ssh.ParsePrivateKey([]byte(key))
		}
		if err != nil {
			return err
		}
		e.config.Auth = append(e.config.Auth, ssh.PublicKeys(signer))
	}
	if password, set := text(props, "password"); set {
		answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = password
			}
			return answers, nil
		}
		e.config.Auth = append(e.config.Auth, ssh.Password(password), ssh.KeyboardInteractive(answer))
	}
	socket, set := text(props, "agentSocketPath")
	if !set {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		e.agent = conn
		e.config.Auth = append(e.config.Auth, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	}
	return nil
}

// reporter is told of every retry.
type reporter func(message string)

// dial connects to the target of a connection, through its proxy if it has one. The result closes all of it.
func dial(ctx context.Context, props object, report reporter) (_ *ssh.Client, _ func(), err error) {
	var open []func()
	closeAll := func() {
		for i := len(open) - 1; i >= 0; i-- {
			open[i]()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()

	target, err := newEndpoint(props)
	if err != nil {
		return nil, nil, err
	}
	open = append(open, target.close)
	proxyProps, viaProxy := reveal(props["proxy"]).(object)
	if !viaProxy {
		client, err := target.dial(ctx, report, "Dial", nil)
		if err != nil {
			return nil, nil, err
		}
		open = append(open, func() { client.Close() })
		return client, closeAll, nil
	}

	proxy, err := newEndpoint(proxyProps)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	open = append(open, proxy.close)
	jump, err := proxy.dial(ctx, report, "Dial proxy", nil)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	open = append(open, func() { jump.Close() })
	client, err := target.dial(ctx, report, "Dial from proxy", jump)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	open = append(open, func() { client.Close() })
	return client, closeAll, nil
}

// dial tries until it has a connection, the error limit is reached or a retry cannot help.
func (e *endpoint) dial(ctx context.Context, report reporter, label string, jump *ssh.Client) (*ssh.Client, error) {
	limit := strconv.Itoa(e.errorLimit)
	if e.errorLimit < 0 {
		limit = "inf"
	}
	wait := firstWait
	for attempt := 0; ; attempt++ {
		client, handshaking, err := e.attempt(ctx, jump)
		if err == nil {
			return client, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if *e.wrongKey != nil {
			return nil, fmt.Errorf("ssh: handshake failed: %w", *e.wrongKey)
		}
		var negotiation *ssh.AlgorithmNegotiationError
		if errors.As(err, &negotiation) && negotiation.What == "host key" {
			// The server has no key of the pinned type: as wrong as another key, and as final.
			return nil, err
		}
		if e.errorLimit >= 0 && attempt >= e.errorLimit {
			return nil, fmt.Errorf("after %d failed attempts: %w", attempt, err)
		}
		name := label
		if jump != nil && handshaking {
			name = "Dial"
		}
		report(fmt.Sprintf("%s %d/%s failed: retrying", name, attempt+1, limit))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait = time.Duration(float64(wait) * waitFactor)
	}
}

// attempt connects and shakes hands once. The second result says whether it came as far as the handshake.
func (e *endpoint) attempt(ctx context.Context, jump *ssh.Client) (*ssh.Client, bool, error) {
	limit := e.timeout
	if limit == 0 {
		limit = handshakeLimit
	}
	var conn net.Conn
	var err error
	if jump == nil {
		dialer := net.Dialer{Timeout: e.timeout}
		conn, err = dialer.DialContext(ctx, "tcp", e.address)
	} else {
		opening, cancel := context.WithTimeout(ctx, limit)
		conn, err = jump.DialContext(opening, "tcp", e.address)
		cancel()
	}
	if err != nil {
		return nil, false, err
	}

	// A channel through a jump host knows no deadline, so the connection is closed when the time is over; a cancelled
	// call ends the same way.
	deadline, cancel := context.WithTimeoutCause(ctx, limit, handshakeTimeout{e.address})
	defer cancel()
	stop := context.AfterFunc(deadline, func() { conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, e.address, e.config)
	if !stop() {
		conn.Close()
		return nil, true, fmt.Errorf("ssh: handshake failed: %w", context.Cause(deadline))
	}
	if err != nil {
		conn.Close()
		return nil, true, err
	}
	return ssh.NewClient(sshConn, channels, requests), true, nil
}

// handshakeTimeout is a net.Error, like the time-out of a TCP connection.
type handshakeTimeout struct{ address string }

func (t handshakeTimeout) Error() string   { return "read tcp " + t.address + ": i/o timeout" }
func (t handshakeTimeout) Timeout() bool   { return true }
func (t handshakeTimeout) Temporary() bool { return true }
