//! The terminal while it shows the screen. It is restored when this value is dropped, also by a panic.

use std::io::{self, BufWriter, Stdout, Write as _};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::{Rect, Size},
};

use crate::terminal;

/// Size of the buffer for one frame, in bytes, so that a frame is written at once.
const FRAME_BYTES: usize = 64 << 10;

/// The terminal.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    has_mouse: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// The terminal cannot be set up. It is as it was then.
    pub(crate) fn open(has_mouse: bool) -> io::Result<Self> {
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        let mut screen = Self { terminal: Terminal::new(backend)?, has_mouse };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the terminal again after [`leave`](Self::leave).
    ///
    /// # Errors
    /// The terminal cannot be set up.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        terminal::hold();
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        if self.has_mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.redraw()
    }

    /// Gives the terminal back as it was. What fails is ignored: the terminal may be gone.
    pub(crate) fn leave(&mut self) {
        if self.has_mouse {
            let _ = execute!(io::stdout(), DisableMouseCapture);
        }
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = io::stdout().flush();
        terminal::release();
    }

    /// Writes each cell with the next frame, also those that have not changed.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where the cursor is, and would wait for the thread that reads keys.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// The size of the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Draws a frame. Writes the cells that have changed.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::File,
        io::Read as _,
        process::{Command, Stdio},
    };

    use nix::{
        pty::{OpenptyResult, Winsize, openpty},
        sys::termios::tcgetattr,
    };

    use super::*;

    /// Run by the next test in a process of its own, whose standard output is a terminal.
    #[test]
    #[ignore = "needs a terminal"]
    fn a_screen_that_panics() {
        let mut screen = Screen::open(true).unwrap();
        screen.draw(|_| panic!("in the middle of a frame")).unwrap();
    }

    #[test]
    fn a_panic_restores_the_terminal() {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let name = "top::screen::tests::a_screen_that_panics";
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", name, "--ignored", "--nocapture"]);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(command);
        assert!(!child.wait().unwrap().success());
        assert_eq!(tcgetattr(&slave).unwrap().local_flags, before.local_flags);
        drop(slave);
        let mut written = Vec::new();
        // Reading from a terminal whose other side is closed fails with EIO.
        let _ = File::from(master).read_to_end(&mut written);
        let written = String::from_utf8_lossy(&written).into_owned();
        for (entered, left) in
            [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?1000h", "\x1b[?1000l")]
        {
            let last = |code| written.rfind(code).unwrap_or_else(|| panic!("{code:?} is not in {written:?}"));
            assert!(last(left) > last(entered), "{written:?}");
        }
    }
}
