"""What `import sansdata` shows, one file per verb of the command."""
